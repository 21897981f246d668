"""A NetworkPolicy per component: nothing comes in or goes out but what the component is there for. Pure.

Policies add up, so whoever needs more writes one of their own. Source: kubernetes.io, "Network Policies".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccl_contract.urls import HTTP, POSTGRES, REDIS, ServerUrl, UrlRefused, parse_url
from ccl_operator import environment, names
from ccl_operator.api.workload import NetworkPolicy, Peer
from ccl_operator.manifests import embedded, pooler
from ccl_operator.manifests.meta import Target, child

HTTPS: Final = 443
DNS: Final = 53
NAMESPACE_LABEL: Final = "kubernetes.io/metadata.name"
Rule = dict[str, Any]
Addresses = Mapping[str, tuple[tuple[str, ...], int]]


#: Variables that hold URLs → their schemes, and the usual port.
_DATABASE: Final[Addresses] = dict.fromkeys(
    ("DATABASE_URL", "DATABASE_DIRECT_URL", "DATABASE_REPLICA_URLS", environment.POOLED_SERVER),
    (POSTGRES, embedded.POSTGRES_PORT),
)
_REDIS: Final[Addresses] = {"REDIS_URL": (REDIS, embedded.REDIS_PORT)}
_PROVIDERS: Final[Addresses] = dict.fromkeys(
    ("MAILGUN_BASE_URL", "OPENAI_BASE_URL", "OTEL_EXPORTER_OTLP_ENDPOINT", "SENTRY_DSN"), (HTTP, HTTPS)
)


@dataclass(frozen=True)
class Outside:
    """Ports beyond the object's own pods: of the database, of Redis, of the providers."""

    database: tuple[int, ...]
    redis: tuple[int, ...]
    providers: tuple[int, ...]

    @classmethod
    def of(cls, target: Target, environments: Sequence[Mapping[str, str]]) -> "Outside":
        """``environments``: the variables of all pods that may run, those of old revisions too."""
        return cls(
            database=_ports(target, environments, _DATABASE),
            redis=_ports(target, environments, _REDIS),
            providers=tuple(sorted({HTTPS, *_ports(target, environments, _PROVIDERS)})),
        )


def policies(
    target: Target, wanted: NetworkPolicy, outside: Outside, *, operator_namespace: str
) -> tuple[dict[str, Any], ...]:
    """One for each component that may have pods, sorted by component. ``operator_namespace`` may be empty: then the
    operator runs elsewhere."""
    own = {"podSelector": {"matchLabels": {names.INSTANCE_LABEL: target.instance}}}
    callers = [*_callers(wanted, operator_namespace)]
    data = _to_data(own, outside)
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


def _to_data(own: Rule, outside: Outside) -> list[Rule]:
    """Ways to pooler, database and Redis: inside to our own pods, else to any address on the port of the URL."""
    inside = (embedded.POSTGRES_PORT, embedded.REDIS_PORT, pooler.PORT)
    elsewhere = [_rule("to", [], ports) for ports in (outside.database, outside.redis) if ports]
    return [_rule("to", [own], inside), *elsewhere]


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


def _ports(target: Target, environments: Sequence[Mapping[str, str]], addresses: Addresses) -> tuple[int, ...]:
    """The ports of all servers that are not our own pods."""
    own = {f"{name(target.instance)}.{target.namespace}.svc" for name in (names.postgres, names.redis, names.pgbouncer)}
    found: set[int] = set()
    for variables in environments:
        for variable in addresses.keys() & variables.keys():
            schemes, usual = addresses[variable]
            for text in environment.urls(variable, variables[variable]):
                url = _read(text, schemes)
                default = 80 if url.scheme == "http" else usual
                found |= {server.port or default for server in url.servers if server.host not in own}
    return tuple(sorted(found))


def _read(text: str, schemes: Sequence[str]) -> ServerUrl:
    """A text that is no URL names no server."""
    try:
        return parse_url(text, *schemes)
    except UrlRefused:
        return ServerUrl("")
