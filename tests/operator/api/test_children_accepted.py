"""What the builders make, put before a real API server."""

import pytest

from ccl_operator import names
from ccl_operator.runtime.drift import drift
from tests.operator.api.conftest import NAMESPACE
from tests.operator.monitoring_kinds import install
from tests.unit.operator.samples import SPEC, secret
from tests.unit.operator.simulated_cluster import SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"
TEMPLATE = {
    "labels": {"team": "loans"},
    "annotations": {"example.com/note": "hello"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
    "priorityClassName": "system-cluster-critical",
}
#: A specification that asks for every kind of child.
EVERYTHING = {
    **SPEC,
    "imagePullSecrets": [{"name": "registry"}],
    "autoscaling": {"min": 2, "max": 4},
    "http": {**SPEC["http"], "ingressClassName": "nginx", "tlsSecretName": "tls", "bodyLimit": "5Mi"},
    "web": {"template": TEMPLATE, "probes": {"readiness": {"periodSeconds": 5}}},
    "jobs": {"template": TEMPLATE, "replicas": 2},
    "serviceAccount": {"annotations": {"iam.example.com/role": "backup"}},
    "secrets": {**SPEC["secrets"], "sentry": {"secretRef": "sentry"}},
    "database": {
        "embedded": {**SPEC["database"]["embedded"], "template": TEMPLATE},
        "pooler": {"poolSize": 5, "template": TEMPLATE},
    },
    "sessions": {"redis": {"embedded": {"template": TEMPLATE}}},
    "networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {}}]},
    "monitoring": {"otlpEndpoint": "http://otel.monitoring:4318"},
    "deletionPolicy": "Delete",
}
#: The same with database, Redis and keys of one's own.
EXTERNAL = {
    **EVERYTHING,
    "secrets": {**EVERYTHING["secrets"], "jwt": {"secretKeyRef": {"name": "db", "key": "jwt"}}},
    "database": {
        **{field: {"secretKeyRef": {"name": "db", "key": "url"}} for field in ("urlFrom", "directUrlFrom")},
        "pooler": {"replicas": 1},
    },
    "sessions": {"redis": {"urlFrom": {"secretKeyRef": {"name": "db", "key": "redis"}}}},
}
REFERENCED = {
    "db": secret(url="postgresql://u:p@db.example.com:5433/ccl", redis="redis://redis.example.com", jwt="x1Y2" * 16),
    "sentry": secret(SENTRY_DSN="https://key@sentry.example.com/1"),
}
PODS = {names.DEPLOYMENT, names.STATEFUL_SET, names.JOB, names.CRON_JOB}


@pytest.fixture(scope="module", autouse=True)
def _kinds_of_the_prometheus_operator(api):
    install(api)


def walk(spec, images=(NEW,)):
    """The cluster after a promotion, and another for each image; all manifests, in the order of writing."""
    cluster = SimulatedCluster(spec=spec, served_kinds=frozenset(names.OPTIONAL))
    cluster.referenced |= REFERENCED
    written = {}
    apply = cluster._apply

    def record(resource, name, manifest, *, once):
        written[resource, name] = {**manifest, "metadata": {**manifest["metadata"], "namespace": NAMESPACE}}
        apply(resource, name, manifest, once=once)

    cluster._apply = record
    cluster.run()
    for image in images:
        cluster.change(image=image)
        cluster.run()
    assert cluster.status["phase"] == "Ready", cluster.status
    return cluster, written


@pytest.fixture(scope="module", params=[EVERYTHING, EXTERNAL], ids=["embedded", "external"])
def written(request):
    return walk(request.param)[1]


def path(resource, name):
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    return f"{root}/namespaces/{NAMESPACE}/{resource.plural}/{name}"


def pod_template(manifest):
    return manifest["spec"].get("template") or manifest["spec"]["jobTemplate"]["spec"]["template"]


def without_version(manifest):
    return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": ""}}


def test_every_kind_that_is_written_and_every_component_is_among_them():
    _, written = walk(EVERYTHING)
    assert {resource for resource, _ in written} == set(names.CHILDREN) - set(names.READ_ONLY)
    templates = [pod_template(manifest) for (resource, _), manifest in written.items() if resource in PODS]
    assert {each["metadata"]["labels"][names.COMPONENT_LABEL] for each in templates} == set(names.COMPONENTS)


def test_every_child_is_accepted_and_then_found_to_have_its_form_already(rest, written):
    query = f"?fieldManager={names.FIELD_MANAGER}&force=true&fieldValidation=Strict"
    for (resource, name), manifest in written.items():
        target = path(resource, name) + query
        code, answer = rest.request("PATCH", target, manifest, "application/apply-patch+yaml")
        assert code in {200, 201}, (name, answer["message"])
        assert drift(manifest, answer) == (), f"{resource.kind} {name}"
        code, again = rest.request("PATCH", target, manifest, "application/apply-patch+yaml")
        assert code == 200
        # The first repetition of a claim is stored anew, with nothing else in it.
        assert without_version(again) == without_version(answer), name


def test_every_pod_passes_the_profile_restricted(rest, written):
    templates = [pod_template(manifest) for (resource, _), manifest in written.items() if resource in PODS]
    assert len(templates) >= 9
    for template in templates:
        # The volume that the StatefulSet's controller would add.
        volumes = [*template["spec"]["volumes"], {"name": "data", "emptyDir": {}}]
        spec = {**template["spec"], "volumes": volumes}
        pod = {"metadata": {**template["metadata"], "generateName": "x-"}, "spec": spec}
        code, answer = rest.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
        assert code == 201, answer["message"]


def test_a_status_is_kept_as_it_was_written(rest):
    cluster, _ = walk(EVERYTHING)
    code, answer = rest.create("told", cluster.spec, dry_run=False)
    assert code == 201, answer["message"]
    manifest = {**rest.manifest("told", {}), "status": cluster.status}
    manifest.pop("spec")
    target = f"{rest.path()}/told/status?fieldManager={names.FIELD_MANAGER}&force=true"
    code, answer = rest.request("PATCH", target, manifest, "application/apply-patch+yaml")
    assert code == 200, answer["message"]
    assert answer["status"] == cluster.status
