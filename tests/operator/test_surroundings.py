"""What others do with our object and around it: scale it, bring the Prometheus operator, switch the deletion policy."""

from collections.abc import Iterator

import pytest

from ccl_operator import names
from ccl_operator.runtime.client import path
from tests.operator.conftest import Place
from tests.operator.kubernetes_api import Json
from tests.operator.monitoring_kinds import install, remove
from tests.operator.operator_process import until


def _scale(place: Place) -> Json:
    return place.api.call("GET", path(names.OWNER, place.namespace, "ccl", "scale"))


@pytest.fixture
def _no_monitoring(place: Place) -> Iterator[None]:
    """The kinds of the Prometheus operator are not there at first, and not left behind."""
    remove(place.api)
    yield
    remove(place.api)


def test_the_scale_subresource_reads_and_sets_the_stable_pods(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()

    def scaled() -> bool:
        place.hand.step()
        status = _scale(place)["status"]
        return bool(status["replicas"] == 3 and names.INSTANCE_LABEL in status["selector"])

    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"replicas": 3}}, "scale")
    until("three pods are there", scaled, timeout=60)
    revision = place.owner()["status"]["stable"]["revision"]
    assert place.api.get(names.DEPLOYMENT, place.namespace, names.web("ccl", revision))["spec"]["replicas"] == 3


@pytest.mark.usefixtures("_no_monitoring")
def test_monitoring_is_made_when_its_kinds_appear_and_the_operator_survives_their_going(place: Place) -> None:
    operator = place.start_operator()
    place.create(monitoring={})
    place.promote()
    install(place.api)

    def made() -> bool:
        return all(place.api.find(resource, place.namespace, "ccl") for resource in names.OPTIONAL)

    until("both are made", made, timeout=90)
    remove(place.api)
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"replicas": 1}})

    def followed() -> bool:
        place.hand.step()
        return place.is_true("Ready") and place.condition("Stalled").get("status") == "False"

    until("it works on without them", followed, timeout=90)
    assert operator.page("/livez")


def test_owner_references_come_and_go_with_the_deletion_policy(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    kept = [(names.SECRET, "ccl-keys"), (names.SECRET, "ccl-postgres"), (names.VOLUME_CLAIM, "ccl-backups")]

    def owned() -> list[bool]:
        found = [place.api.get(resource, place.namespace, name) for resource, name in kept]
        return [bool(each["metadata"].get("ownerReferences")) for each in found]

    assert not any(owned())
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"deletionPolicy": "Delete"}})
    until("all go with the object", lambda: all(owned()))
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": {"deletionPolicy": "Retain"}})
    until("all outlive it", lambda: not any(owned()))
