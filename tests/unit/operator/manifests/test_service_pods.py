"""The pods of the service."""

import copy

import pytest

from ccl_operator import names
from ccl_operator.api.workload import Component
from ccl_operator.manifests.meta import Target
from ccl_operator.manifests.service_pods import deployment, template

TARGET = Target("ccl", "loans", "uid")
REVISION = "0123456789"


def built(component=names.WEB, **parts):
    return template("ccl", component, REVISION, "image:1", Component.model_validate(parts))


def container(pod_template):
    (only,) = pod_template["spec"]["containers"]
    return only


def test_web_pods_claim_no_work_and_jobs_pods_do_nothing_else():
    assert container(built(names.WEB))["command"] == ["ccl-service", "serve", "--no-jobs"]
    assert container(built(names.JOBS))["command"] == ["ccl-service", "serve", "--jobs-only"]


def test_a_pod_has_neither_token_nor_service_variables():
    spec = built()["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["enableServiceLinks"] is False


def test_keys_and_monitoring_token_are_mounted_whole_and_readable_for_the_group_only():
    spec = built()["spec"]
    mounts = {each["name"]: each for each in container(built())["volumeMounts"]}
    assert mounts["keys"] == {"name": "keys", "mountPath": "/run/ccl/keys", "readOnly": True}
    assert mounts["monitor"]["mountPath"] == "/run/ccl/monitor"
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["keys"]["secret"] == {"secretName": "ccl-keys", "defaultMode": 0o440}
    assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsUser"]


def test_liveness_never_asks_what_readiness_asks():
    probes = container(built())
    assert probes["livenessProbe"]["httpGet"]["path"] == "/live"
    assert probes["readinessProbe"]["httpGet"]["path"] == "/ready"
    assert probes["startupProbe"]["httpGet"]["path"] == "/live"


def test_a_pod_gets_its_variables_from_its_own_revision():
    sources = container(built())["envFrom"]
    assert sources == [
        {"configMapRef": {"name": f"ccl-env-{REVISION}"}},
        {"secretRef": {"name": f"ccl-ext-{REVISION}"}},
    ]


def test_extra_variables_come_after_the_pods_own():
    env = container(built(extraEnv=[{"name": "LOG_LEVEL", "value": "info"}]))["env"]
    assert [each["name"] for each in env] == ["POD_NAME", "POD_NAMESPACE", "LOG_LEVEL"]


def test_resources_are_spelled_as_the_api_server_stores_them():
    found = container(built(resources={"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {}}))["resources"]
    assert found == {"requests": {"cpu": "500m", "memory": "1Gi"}}


def test_a_pod_may_take_thirty_five_seconds_to_stop():
    assert built()["spec"]["terminationGracePeriodSeconds"] == 35


def test_a_deployment_never_has_fewer_pods_than_wanted_and_selects_its_own_revision_only():
    spec = deployment(TARGET, names.WEB, REVISION, built(), replicas=2)["spec"]
    assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert spec["selector"]["matchLabels"][names.REVISION_LABEL] == REVISION


@pytest.mark.parametrize("component", [names.WEB, names.JOBS])
def test_building_twice_gives_the_same_and_leaves_the_template_alone(component):
    pod_template = built(component)
    before = copy.deepcopy(pod_template)
    one = deployment(TARGET, component, REVISION, pod_template, replicas=1)
    assert one == deployment(TARGET, component, REVISION, pod_template, replicas=1)
    assert pod_template == before


def test_a_template_adds_labels_and_annotations_and_says_where_pods_run():
    more = {
        "labels": {"team": "loans"},
        "annotations": {"example.com/note": "hello"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "priorityClassName": "high",
    }
    wanted = Component.model_validate({"template": more})
    built = template("ccl", names.WEB, "0123456789", "image", wanted, pulls=("registry",))
    assert built["metadata"]["labels"] == {"team": "loans", **names.labels("ccl", names.WEB, "0123456789")}
    assert built["metadata"]["annotations"] == {"example.com/note": "hello"}
    spec = built["spec"]
    assert spec["nodeSelector"] == {"disk": "fast"}
    assert spec["tolerations"] == [{"key": "spot", "operator": "Exists"}]
    assert spec["priorityClassName"] == "high"
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["serviceAccountName"] == "ccl"


def test_only_what_is_tuned_of_a_probe_changes():
    wanted = Component.model_validate({"probes": {"readiness": {"periodSeconds": 7}}})
    container = template("ccl", names.WEB, "0123456789", "image", wanted)["spec"]["containers"][0]
    usual = template("ccl", names.WEB, "0123456789", "image", Component())["spec"]["containers"][0]
    assert container["readinessProbe"] == {**usual["readinessProbe"], "periodSeconds": 7}
    assert container["livenessProbe"] == usual["livenessProbe"]
