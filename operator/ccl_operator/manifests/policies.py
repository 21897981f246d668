"""A NetworkPolicy per component: nothing comes in or goes out but what the component is there for. Pure.

Policies add up, so whoever needs more writes one of their own. Source: kubernetes.io, "Network Policies".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from ccl_operator import environment, names
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.api.workload import NetworkPolicy, Peer
from ccl_operator.manifests import embedded, pooler
from ccl_operator.manifests.meta import Target, child

HTTPS: Final = 443
DNS: Final = 53
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
Rule = dict[str, Any]


@dataclass(frozen=True)
class Outside:
    """Ports beyond the object's own pods: of the database, of Redis, of the providers."""

    database: tuple[int, ...]
    redis: tuple[int, ...]
    providers: tuple[int, ...]

    @classmethod
    def of(cls, spec: Spec, external: Mapping[str, str]) -> "Outside":
        """``external``: the URLs that the pods get."""
        urls = [external.get(name, "") for name in ("DATABASE_URL", "DATABASE_DIRECT_URL")]
        urls += external.get("DATABASE_REPLICA_URLS", "").split(",")
        accounts = (spec.secrets.mailgun, spec.secrets.openai)
        addresses = [each.base_url for each in accounts if each is not None and each.base_url]
        addresses += [spec.monitoring.otlp_endpoint] if spec.monitoring and spec.monitoring.otlp_endpoint else []
        addresses += [external["SENTRY_DSN"]] if "SENTRY_DSN" in external else []
        return cls(
            database=_ports(urls, embedded.POSTGRES_PORT),
            redis=_ports([external.get("REDIS_URL", "")], embedded.REDIS_PORT),
            providers=tuple(sorted({HTTPS, *_ports(addresses, HTTPS)})),
        )


def policies(
    target: Target, spec: Spec, wanted: NetworkPolicy, outside: Outside, *, operator_namespace: str
) -> tuple[dict[str, Any], ...]:
    """One for each component that may have pods, sorted by component. ``operator_namespace`` may be empty: then the
    operator runs elsewhere."""
    own = {"podSelector": {"matchLabels": {names.INSTANCE_LABEL: target.instance}}}
    callers = [*_callers(wanted, operator_namespace)]
    data = _to_data(own, spec, outside)
    out = [_dns(), *data, _rule("to", [], outside.providers)]
    served = [_rule("from", callers, (environment.PORT,))]
    table: dict[str, tuple[list[Rule], list[Rule]]] = {
        names.WEB: (served, out),
        names.JOBS: (served, out),
        names.MIGRATE: ([], [_dns(), *data]),
        names.MAINTAIN: ([], [_dns(), *data]),
        names.BACKUP: ([], [_dns(), *data, _rule("to", [], (HTTPS,))]),
        names.PGBOUNCER: (
            [_rule("from", [own], (pooler.PORT,)), _rule("from", callers, (pooler.METRICS_PORT,))],
            [_dns(), *data],
        ),
        names.POSTGRES: ([_rule("from", [own], (embedded.POSTGRES_PORT,))], []),
        names.REDIS: ([_rule("from", [own], (embedded.REDIS_PORT,))], []),
    }
    return tuple(_policy(target, component, *table[component]) for component in sorted(table))


def _callers(wanted: NetworkPolicy, operator_namespace: str) -> list[Rule]:
    operator = [_namespace(operator_namespace)] if operator_namespace else []
    return [{"podSelector": {}}, *operator, *(_peer(each) for each in wanted.allow_from)]


def _namespace(name: str) -> Rule:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: name}}}


def _peer(peer: Peer) -> Rule:
    found: Rule = {}
    if peer.ip_block is not None:
        found["ipBlock"] = {"cidr": peer.ip_block.cidr}
    for field, selector in (("namespaceSelector", peer.namespace_selector), ("podSelector", peer.pod_selector)):
        if selector is not None:
            labels = dict(sorted(selector.match_labels.items()))
            found[field] = {"matchLabels": labels} if labels else {}
    return found


def _to_data(own: Rule, spec: Spec, outside: Outside) -> list[Rule]:
    """Ways to pooler, database and Redis: inside to our own pods, else to any address on the port of the URL."""
    inside = (embedded.POSTGRES_PORT, embedded.REDIS_PORT, pooler.PORT)
    rules = [_rule("to", [own], inside)]
    if spec.database.url_from is not None:
        rules.append(_rule("to", [], outside.database))
    if spec.sessions.redis is not None and spec.sessions.redis.url_from is not None:
        rules.append(_rule("to", [], outside.redis))
    return rules


def _dns() -> Rule:
    return {"ports": [{"port": DNS, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def _rule(direction: str, peers: Sequence[Rule], ports: Sequence[int]) -> Rule:
    """Without peers: every address."""
    rule: Rule = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
    return {direction: list(peers), **rule} if peers else rule


def _policy(target: Target, component: str, incoming: list[Rule], outgoing: list[Rule]) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "podSelector": {"matchLabels": names.selector(target.instance, component)},
        "policyTypes": ["Ingress", "Egress"],
    }
    if incoming:
        spec["ingress"] = incoming
    if outgoing:
        spec["egress"] = outgoing
    name = names.policy(target.instance, component)
    return child(names.NETWORK_POLICY, target, name, {"spec": spec}, component=component)


def _ports(urls: Sequence[str], usual: int) -> tuple[int, ...]:
    found = set()
    for url in urls:
        parts = urlsplit(url.strip())
        if parts.scheme:
            found.add(_port(parts.netloc, usual, http=parts.scheme == "http"))
    return tuple(sorted(found or {usual}))


def _port(netloc: str, usual: int, *, http: bool) -> int:
    """The port of the first host: a database URL may list several of one port, which ``urlsplit`` does not read."""
    host = netloc.rpartition("@")[2].partition(",")[0]
    text = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else ""
    if text.isdigit():
        return int(text)
    return 80 if http else usual
