"""Every address that a pod really gets, the policies let it reach; and the other end lets it in."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ccl_operator import names
from tests.unit.operator.samples import SPEC, secret
from tests.unit.operator.simulated_cluster import SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"
URL = re.compile(r"(?P<scheme>[a-z]+)://(?:[^@/]*@)?(?P<hosts>[^/?]+)")
USUAL = {"postgresql": 5432, "redis": 6379, "http": 80, "https": 443}


def selector(key: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": "db", "key": key}}


def database(*keys: str, **more: Any) -> dict[str, Any]:
    fields = {"url": "urlFrom", "direct": "directUrlFrom", "replicas": "replicaUrlsFrom"}
    return {**{fields[key]: selector(key) for key in keys}, **more}


DATA = {
    "url": "postgresql://u:p@db.example.com:6543/d",
    "direct": "postgresql://u:p@db.example.com:5433/d",
    "replicas": "postgresql://u:p@one.example.com:7001/d,postgresql://u:p@two.example.com/d",
    "several": "postgresql://u:p@one.example.com:7003,two.example.com:7004/d",
    "redis": "rediss://:p@cache.example.com:6380/0",
    "sentry": "https://key@sentry.example.com:9000/1",
}
MONITORED = {"monitoring": {"otlpEndpoint": "http://otel.example.com:4318"}}
SHAPES: dict[str, dict[str, Any]] = {
    "embedded": {},
    "embedded behind the pooler": {"database": {**SPEC["database"], "pooler": {}}},
    "elsewhere": {"database": database("url"), "sessions": {"redis": {"urlFrom": selector("redis")}}, **MONITORED},
    "two ways and replicas": {"database": database("url", "direct", "replicas")},
    "several servers": {"database": {"urlFrom": selector("several")}},
    "behind the pooler": {"database": database("url", pooler={})},
    "behind the pooler, with a way past it": {"database": database("url", "direct", pooler={})},
    "addresses in extraEnv": {"jobs": {"extraEnv": [{"name": "SENTRY_DSN", "value": DATA["sentry"]}]}},
}


def data(cluster: SimulatedCluster, resource: Any, name: str) -> dict[str, str]:
    found = cluster.objects[resource, name]["data"]
    return found if resource == names.CONFIG_MAP else {k: base64.b64decode(v).decode() for k, v in found.items()}


def environment(cluster: SimulatedCluster, container: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        kind = names.CONFIG_MAP if "configMapRef" in source else names.SECRET
        found |= data(cluster, kind, next(iter(source.values()))["name"])
    for item in container.get("env", ()):
        reference = item.get("valueFrom", {}).get("secretKeyRef")
        held = data(cluster, names.SECRET, reference["name"]) if reference else {}
        found |= {item["name"]: item["value"]} if "value" in item else {}
        found |= {item["name"]: held[reference["key"]]} if reference and reference["key"] in held else {}
    return found


def pods(cluster: SimulatedCluster) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Component and pod spec of everything that runs, or will."""
    for (resource, _), each in cluster.objects.items():
        if resource in {names.DEPLOYMENT, names.STATEFUL_SET, names.JOB, names.CRON_JOB}:
            spec = each["spec"].get("jobTemplate", each)["spec"]
            yield each["metadata"]["labels"][names.COMPONENT_LABEL], spec["template"]["spec"]


def addresses(cluster: SimulatedCluster) -> set[tuple[str, str, int]]:
    """Component, host and port of every way that somebody will take."""
    found = set()
    for component, spec in pods(cluster):
        for container in spec["containers"]:
            for name, value in environment(cluster, container).items():
                # The server behind the pooler is only carried; the pooler itself takes that way.
                if name not in {"PGBOUNCER_SERVER_URL", "PUBLIC_BASE_URL", "CORS_ORIGIN"}:
                    found |= {(component, *place) for place in places(value)}
    if (names.SECRET, "ccl-pgbouncer") in cluster.objects:
        entries = data(cluster, names.SECRET, "ccl-pgbouncer")["pgbouncer.ini"]
        servers = re.findall(r"host='([^']+)' port='(\d+)'", entries)
        assert servers
        found |= {(names.PGBOUNCER, host, int(port)) for host, port in servers}
    return {place for place in found if place[1] != "127.0.0.1"}


def places(text: str) -> Iterator[tuple[str, int]]:
    for url in URL.finditer(text):
        for host in url["hosts"].split(","):
            name, _, port = host.partition(":")
            if name:
                yield name, int(port or USUAL[url["scheme"].replace("rediss", "redis")])


def passes(rules: list[Mapping[str, Any]], direction: str, labels: Mapping[str, str] | None, port: int) -> bool:
    """Whether a rule lets ``port`` through from or to a pod with these labels; None: somebody outside."""

    def lets(peer: Mapping[str, Any]) -> bool:
        wanted = peer.get("podSelector", {}).get("matchLabels", {}).items()
        return labels is not None and "namespaceSelector" not in peer and wanted <= labels.items()

    return any(
        port in [each["port"] for each in rule["ports"]] and (direction not in rule or any(map(lets, rule[direction])))
        for rule in rules
    )


def closed(cluster: SimulatedCluster) -> list[tuple[str, str, int]]:
    """The ways that are asked for and not open."""
    policy = {component: cluster.objects[names.NETWORK_POLICY, f"ccl-{component}"] for component in names.COMPONENTS}
    found = []
    for component, host, port in sorted(addresses(cluster)):
        inside = re.fullmatch(r"ccl-(\w+)\.loans\.svc", host)
        theirs = names.labels("ccl", inside[1]) if inside else None
        leaves = passes(policy[component]["spec"].get("egress", []), "to", theirs, port)
        arrives = not inside or passes(
            policy[inside[1]]["spec"].get("ingress", []), "from", names.labels("ccl", component), port
        )
        found += [] if leaves and arrives else [(component, host, port)]
    return found


@pytest.fixture(params=SHAPES)
def open_cluster(request: pytest.FixtureRequest) -> SimulatedCluster:
    cluster = SimulatedCluster(spec={**SPEC, "networkPolicy": {}, **SHAPES[request.param]})
    cluster.referenced["db"] = secret(**DATA)
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    return cluster


def test_every_address_that_a_pod_gets_can_be_reached(open_cluster: SimulatedCluster) -> None:
    components = {component for component, *_ in addresses(open_cluster)}
    assert components >= {names.WEB, names.JOBS, names.MIGRATE, names.MAINTAIN, names.BACKUP}
    assert closed(open_cluster) == []


def test_what_the_policies_close_is_noticed_here(open_cluster: SimulatedCluster) -> None:
    """The matcher above would not see a closed way otherwise."""
    for component in names.COMPONENTS:
        open_cluster.objects[names.NETWORK_POLICY, f"ccl-{component}"]["spec"]["egress"] = []
    assert set(closed(open_cluster)) == addresses(open_cluster)


def test_in_the_middle_of_a_move_the_old_pods_and_the_new_ones_reach_theirs() -> None:
    cluster = SimulatedCluster(spec={**SPEC, "networkPolicy": {}, "database": database("url")})
    cluster.referenced["db"] = secret(**DATA)
    cluster.run()
    cluster.referenced["db"] = secret(**DATA | {"url": "postgresql://u:p@other.example.com:7777/d"})
    cluster.answers[NEW] = lambda _: None
    cluster.change(image=NEW, monitoring={"otlpEndpoint": "http://otel.example.com:4319"})
    cluster.run(until=lambda: cluster.status["rollout"]["phase"] == "Checking")
    assert {(names.WEB, "db.example.com", 6543), (names.WEB, "other.example.com", 7777)} <= addresses(cluster)
    assert closed(cluster) == []
    del cluster.answers[NEW]
    cluster.run(until=lambda: cluster.status["stable"]["image"] == NEW)
    cluster.reconcile()
    assert (names.WEB, "db.example.com", 6543) in addresses(cluster)
    assert closed(cluster) == []
    cluster.run()
    assert "6543" not in str(cluster.get(names.NETWORK_POLICY, "ccl-web"))


def test_a_refused_address_leaves_the_ways_of_the_running_pods_open() -> None:
    cluster = SimulatedCluster(spec={**SPEC, "networkPolicy": {}, "database": database("url")})
    cluster.referenced["db"] = secret(**DATA)
    cluster.run()
    cluster.referenced["db"] = secret(**DATA | {"url": "mysql://elsewhere"})
    del cluster.objects[names.NETWORK_POLICY, "ccl-web"]
    cluster.run()
    assert cluster.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert closed(cluster) == []
