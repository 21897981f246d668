"""What is rendered is kept so; what is not is nobody's business."""

from functools import partial

from ccl_operator import names
from ccl_operator.actions import Resource
from tests.operator.conftest import SPEC, Place
from tests.operator.operator_process import until

LIMIT_RANGE = Resource("", "v1", "limitranges", "LimitRange")


def test_deleted_children_come_back(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    old = {
        resource: place.api.list(resource, place.namespace)[0]["metadata"]
        for resource in (names.SERVICE, names.STATEFUL_SET, names.DISRUPTION_BUDGET, names.CRON_JOB)
    }
    for resource, metadata in old.items():
        place.api.delete(resource, place.namespace, metadata["name"])

    def back(resource: Resource) -> bool:
        found = place.api.find(resource, place.namespace, old[resource]["name"])
        return found is not None and found["metadata"]["uid"] != old[resource]["uid"]

    for resource in old:
        until(f"the {resource.kind} is back", partial(back, resource), timeout=20)


def test_changed_rendered_fields_are_put_right_and_foreign_fields_stay(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    revision = place.owner()["status"]["stable"]["revision"]
    web = names.web("ccl", revision)
    edit = {
        "metadata": {"annotations": {"example.com/owner": "platform"}, "labels": {names.COMPONENT_LABEL: "else"}},
        "spec": {"replicas": 7, "template": {"spec": {"terminationGracePeriodSeconds": 1}}},
    }
    place.api.patch(names.DEPLOYMENT, place.namespace, web, edit)

    def repaired() -> bool:
        found = place.api.get(names.DEPLOYMENT, place.namespace, web)
        return (
            found["spec"]["replicas"] == 2
            and found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 35
            and found["metadata"]["labels"][names.COMPONENT_LABEL] == names.WEB
        )

    until("the Deployment is as it was", repaired, timeout=20)
    found = place.api.get(names.DEPLOYMENT, place.namespace, web)
    assert found["metadata"]["annotations"]["example.com/owner"] == "platform"


def test_a_child_without_our_label_is_labelled_again(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    place.api.patch(names.SERVICE, place.namespace, "ccl-redis", {"metadata": {"labels": {names.NAME_LABEL: None}}})

    def labelled() -> bool:
        labels = place.api.get(names.SERVICE, place.namespace, "ccl-redis")["metadata"]["labels"]
        return bool(labels.get(names.NAME_LABEL) == "ccl")

    until("the label is back", labelled, timeout=20)


def test_a_port_that_was_moved_to_another_number_is_moved_back_and_the_address_stays(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    before = place.api.get(names.SERVICE, place.namespace, "ccl")
    moved = [{"name": "http", "port": 81, "targetPort": "http", "protocol": "TCP"}]
    note = {"annotations": {"example.com/owner": "platform"}}
    place.api.patch(names.SERVICE, place.namespace, "ccl", {"spec": {"ports": moved}, "metadata": note})

    def repaired() -> bool:
        ports = place.api.get(names.SERVICE, place.namespace, "ccl")["spec"]["ports"]
        return [port["port"] for port in ports] == [80]

    until("the port is back", repaired, timeout=30)
    found = place.api.get(names.SERVICE, place.namespace, "ccl")
    assert found["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    assert found["metadata"]["annotations"]["example.com/owner"] == "platform"
    until("nothing is stuck", lambda: place.condition("Stalled").get("status") == "False")


def test_ports_variables_and_probes_that_exclude_ours_are_put_right_beside_foreign_ones(place: Place) -> None:
    place.start_operator()
    place.create(web={"extraEnv": [{"name": "GREETING", "value": "hello"}]})
    place.promote()
    web = names.web("ccl", place.owner()["status"]["stable"]["revision"])
    ours = place.api.get(names.DEPLOYMENT, place.namespace, web)["spec"]["template"]["spec"]["containers"][0]
    other = {"name": "GREETING", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.uid"}}}
    edited = {
        **ours,
        "ports": [{"name": "http", "containerPort": 5001, "protocol": "TCP"}],
        "env": [*(each for each in ours["env"] if each["name"] != "GREETING"), other, {"name": "X", "value": "1"}],
        "readinessProbe": {"tcpSocket": {"port": 5001}},
    }
    sidecar = {"name": "sidecar", "image": "registry.example/sidecar:1"}
    place.api.patch(
        names.DEPLOYMENT,
        place.namespace,
        web,
        {"spec": {"template": {"spec": {"containers": [edited, sidecar]}}}},
    )

    def repaired() -> bool:
        found = place.api.get(names.DEPLOYMENT, place.namespace, web)["spec"]["template"]["spec"]["containers"][0]
        variables = {each["name"]: each.get("value") for each in found["env"]}
        return (
            [port["containerPort"] for port in found["ports"]] == [5000]
            and variables["GREETING"] == "hello"
            and found["readinessProbe"].get("httpGet", {}).get("path") == "/ready"
        )

    until("the container is as it was", repaired, timeout=30)
    found = place.api.get(names.DEPLOYMENT, place.namespace, web)["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in found] == ["service", "sidecar"]
    assert {"name": "X", "value": "1"} in found[0]["env"]


def test_a_child_that_the_api_server_refuses_is_named_in_the_condition_with_the_reason(place: Place) -> None:
    most = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    place.api.create(LIMIT_RANGE, place.namespace, {"metadata": {"name": "most"}, "spec": {"limits": [most]}})
    place.start_operator()
    place.create(backup=SPEC["backup"] | {"destination": {"pvc": {"size": "2Gi"}}})
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "ApplyRefused")
    message = place.condition("Stalled")["message"]
    assert "PersistentVolumeClaim ccl-backups" in message
    assert "maximum storage" in message
    place.api.delete(LIMIT_RANGE, place.namespace, "most")
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"backup": {"schedule": "30 2 * * *"}}})
    until("it goes on", lambda: place.condition("Stalled").get("status") == "False")
