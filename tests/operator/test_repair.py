"""What is rendered is kept so; what is not is nobody's business."""

from functools import partial

from ccl_operator import names
from ccl_operator.actions import Resource
from tests.operator.conftest import Place
from tests.operator.operator_process import until


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
