"""Objects that are not ours are never touched."""

from ccl_operator import names
from tests.operator.conftest import Place
from tests.operator.operator_process import until

STRANGER = {
    "metadata": {"name": "ccl-preview", "labels": {"app": "somebody-elses"}},
    "spec": {"selector": {"app": "x"}, "ports": [{"port": 80}]},
}


def test_a_foreign_object_of_a_wanted_name_is_not_adopted_and_is_named(place: Place) -> None:
    before = place.api.create(names.SERVICE, place.namespace, STRANGER)
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "InvalidOwnership")
    assert "Service ccl-preview" in place.condition("Stalled")["message"]
    assert place.api.get(names.SERVICE, place.namespace, "ccl-preview") == before


def test_when_the_foreign_object_goes_the_promotion_goes_on(place: Place) -> None:
    place.api.create(names.SERVICE, place.namespace, STRANGER)
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "InvalidOwnership")
    place.api.delete(names.SERVICE, place.namespace, "ccl-preview")
    place.promote()


def test_what_a_deleted_predecessor_left_is_waited_for(place: Place) -> None:
    reference = {"apiVersion": names.OWNER.api_version, "kind": names.OWNER.kind, "name": "ccl", "uid": "gone"}
    metadata = {"name": "ccl", "labels": names.labels("ccl"), "ownerReferences": [reference]}
    left = {"metadata": metadata, "spec": {"selector": {"app": "x"}, "ports": [{"port": 81}]}}
    before = place.api.create(names.SERVICE, place.namespace, left)
    place.start_operator()
    place.create()
    until("the others are there", lambda: place.api.find(names.SERVICE, place.namespace, "ccl-preview"))
    assert place.api.get(names.SERVICE, place.namespace, "ccl") == before
    place.api.delete(names.SERVICE, place.namespace, "ccl")
    place.promote()


def test_after_the_object_is_gone_nothing_is_written_for_it(place: Place) -> None:
    operator = place.start_operator()
    place.create()
    place.promote()
    place.api.delete(names.OWNER, place.namespace, "ccl")
    gone = 'ccl_operator_reconcile_seconds_count{outcome="gone"}'
    until("the operator has seen it go", lambda: operator.metric(gone) >= 1)
    before, passes = place.writes(), operator.metric(gone)
    place.api.delete(names.SERVICE, place.namespace, "ccl")
    until("the operator has seen the child go", lambda: operator.metric(gone) > passes)
    assert place.writes() == before
    assert place.api.find(names.SERVICE, place.namespace, "ccl") is None
