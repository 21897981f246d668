"""What the builders make, put before a real API server."""

import pytest

from ccl_operator import names
from ccl_operator.runtime.drift import drift
from tests.operator.api.conftest import NAMESPACE
from tests.operator.monitoring_kinds import install
from tests.unit.operator.conftest import SPEC, SimulatedCluster

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
    "jobs": {"template": {"labels": {"team": "loans"}}, "replicas": 2},
    "serviceAccount": {"annotations": {"iam.example.com/role": "backup"}},
    "networkPolicy": {"allowFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}, {"namespaceSelector": {}}]},
    "monitoring": {},
    "deletionPolicy": "Delete",
}


@pytest.fixture(scope="module", autouse=True)
def _kinds_of_the_prometheus_operator(api):
    install(api)


@pytest.fixture(scope="module")
def walked():
    """All manifests of two promotions, in the order of writing, and the last status."""
    cluster = SimulatedCluster(spec=EVERYTHING, served_kinds=frozenset(names.OPTIONAL))
    written = {}
    apply = cluster._apply

    def record(resource, name, manifest, *, once):
        written[resource, name] = {**manifest, "metadata": {**manifest["metadata"], "namespace": NAMESPACE}}
        apply(resource, name, manifest, once=once)

    cluster._apply = record
    cluster.run()
    cluster.change(image=NEW)
    cluster.run()
    return cluster, written


def path(resource, name):
    root = f"/apis/{resource.api_version}" if resource.group else "/api/v1"
    return f"{root}/namespaces/{NAMESPACE}/{resource.plural}/{name}"


def test_every_kind_that_is_written_is_among_them(walked):
    assert {resource for resource, _ in walked[1]} == set(names.CHILDREN) - set(names.READ_ONLY)


def test_every_child_is_accepted_and_then_found_to_have_its_form_already(rest, walked):
    query = f"?fieldManager={names.FIELD_MANAGER}&force=true&fieldValidation=Strict"
    for (resource, name), manifest in walked[1].items():
        code, answer = rest.request("PATCH", path(resource, name) + query, manifest, "application/apply-patch+yaml")
        assert code in {200, 201}, (name, answer["message"])
        assert drift(manifest, answer) == (), f"{resource.kind} {name}"


def test_every_pod_passes_the_profile_restricted(rest, walked):
    templates = [
        manifest["spec"].get("template") or manifest["spec"]["jobTemplate"]["spec"]["template"]
        for (resource, _), manifest in walked[1].items()
        if resource in {names.DEPLOYMENT, names.STATEFUL_SET, names.JOB, names.CRON_JOB}
    ]
    assert len(templates) == 10
    for template in templates:
        # The volume that the StatefulSet's controller would add.
        volumes = [*template["spec"]["volumes"], {"name": "data", "emptyDir": {}}]
        spec = {**template["spec"], "volumes": volumes}
        pod = {"metadata": {**template["metadata"], "generateName": "x-"}, "spec": spec}
        code, answer = rest.request("POST", f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All", pod)
        assert code == 201, answer["message"]


def test_a_status_is_kept_as_it_was_written(rest, walked):
    cluster, _ = walked
    code, answer = rest.create("told", cluster.spec, dry_run=False)
    assert code == 201, answer["message"]
    manifest = {**rest.manifest("told", {}), "status": cluster.status}
    manifest.pop("spec")
    target = f"{rest.path()}/told/status?fieldManager={names.FIELD_MANAGER}&force=true"
    code, answer = rest.request("PATCH", target, manifest, "application/apply-patch+yaml")
    assert code == 200, answer["message"]
    assert answer["status"] == cluster.status
