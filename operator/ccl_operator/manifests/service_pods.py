"""Pod templates and Deployments of the service: web and jobs, one of each per revision. Pure.

A template is made once per revision and then stored; nothing in it may depend on the operator's version or on time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Manifest
from ccl_operator.api.values import canonical_bytes, canonical_cpu
from ccl_operator.api.workload import Component, Probe, Quantities
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child

#: The service's drain (5 s) and its longest request fit in; then the kubelet kills it.
GRACE_SECONDS: Final = 35
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    names.WEB: ("ccl-service", "serve", "--no-jobs"),
    names.JOBS: ("ccl-service", "serve", "--jobs-only"),
}


#: Kind of probe → path, period in seconds, failures. Two minutes to come up: afterwards liveness may restart it.
#: Liveness never looks at a dependency.
PROBES: Final[Mapping[str, tuple[str, int, int]]] = {
    "startup": ("/live", 2, 60),
    "liveness": ("/live", 10, 3),
    "readiness": ("/ready", 3, 2),
}


def template(
    instance: str, component: str, revision: str, image: str, wanted: Component, *, pulls: Sequence[str] = ()
) -> dict[str, Any]:
    """Pod template of ``web`` or ``jobs``."""
    container = pods.container(
        "service",
        image,
        command=list(COMMANDS[component]),
        ports=pods.http_port(),
        resources=resources(wanted),
        mounts=pods.key_mounts(),
        startupProbe=_probe("startup", wanted.probes.startup),
        livenessProbe=_probe("liveness", wanted.probes.liveness),
        readinessProbe=_probe("readiness", wanted.probes.readiness),
        **pods.service_environment(instance, revision, {item.name: item.value for item in wanted.extra_env}),
    )
    spec = pods.pod(
        pods.SERVICE_USER,
        [container],
        pods.key_volumes(instance),
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=pods.spread(names.selector(instance, component, revision)),
        **pods.identity(instance, pulls),
    )
    return pods.template(names.labels(instance, component, revision), spec, wanted.template)


def deployment(
    target: Target, component: str, revision: str, pod_template: Manifest, *, replicas: int
) -> dict[str, Any]:
    """Deployment of a stored template. The template never changes, so its strategy only matters to node drains."""
    name = {names.WEB: names.web, names.JOBS: names.jobs}[component](target.instance, revision)
    body = {
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": names.selector(target.instance, component, revision)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pod_template,
        }
    }
    return child(names.DEPLOYMENT, target, name, body, component=component, revision=revision)


def resources(wanted: Component) -> dict[str, Any]:
    """Requests and limits in the API server's own spelling."""
    parts = {"requests": wanted.resources.requests, "limits": wanted.resources.limits}
    return {name: amounts for name, part in parts.items() if (amounts := _amounts(part))}


def _probe(kind: str, wanted: Probe) -> dict[str, Any]:
    path, period, failures = PROBES[kind]
    return pods.http_probe(
        path,
        period=wanted.period_seconds or period,
        failures=wanted.failure_threshold or failures,
        timeout=wanted.timeout_seconds or 2,
    )


def _amounts(part: Quantities) -> dict[str, str]:
    amounts = {}
    if part.cpu is not None:
        amounts["cpu"] = canonical_cpu(part.cpu)
    if part.memory is not None:
        amounts["memory"] = canonical_bytes(part.memory)
    return amounts
