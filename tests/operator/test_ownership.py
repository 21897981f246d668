"""Objects that are not ours are never touched."""

from ccl_operator import names
from ccl_operator.runtime import rbac
from tests.operator.conftest import ROLES, Place
from tests.operator.kubernetes_api import Json
from tests.operator.operator_process import until

STRANGER: Json = {
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


def test_what_may_not_be_looked_at_is_not_written_over_and_the_permission_is_named(place: Place) -> None:
    before = place.api.create(names.SERVICE, place.namespace, STRANGER)
    blind = [rule | {"verbs": [verb for verb in rule["verbs"] if verb != "get"]} for rule in rbac.rules()]
    rules = [new if old["resources"] == ["services"] else old for old, new in zip(rbac.rules(), blind, strict=True)]
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator", {"rules": rules})
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "Forbidden")
    assert 'cannot get resource "services"' in place.condition("Stalled")["message"]
    assert place.api.get(names.SERVICE, place.namespace, "ccl-preview") == before
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator", {"rules": rbac.rules()})
    until("the stranger is seen", lambda: place.condition("Stalled").get("reason") == "InvalidOwnership")


def test_an_object_that_another_kind_owns_is_not_adopted_though_it_carries_our_labels(place: Place) -> None:
    reference = {"apiVersion": "example.com/v1", "kind": "Gate", "name": "x", "uid": "y"}
    metadata = STRANGER["metadata"] | {"labels": names.labels("ccl"), "ownerReferences": [reference]}
    before = place.api.create(names.SERVICE, place.namespace, STRANGER | {"metadata": metadata})
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "InvalidOwnership")
    assert place.api.get(names.SERVICE, place.namespace, "ccl-preview") == before


def test_a_copy_of_our_object_under_another_name_is_left_alone(place: Place) -> None:
    place.start_operator()
    place.create(networkPolicy={"enabled": True})
    place.promote()
    ours = next(iter(place.api.list(names.NETWORK_POLICY, place.namespace)))
    metadata = {"name": "copied", "labels": ours["metadata"]["labels"]}
    owned = metadata | {"name": "outdated", "ownerReferences": ours["metadata"]["ownerReferences"]}
    copied = place.api.create(names.NETWORK_POLICY, place.namespace, {"metadata": metadata, "spec": ours["spec"]})
    place.api.create(names.NETWORK_POLICY, place.namespace, {"metadata": owned, "spec": ours["spec"]})
    until("what we own goes", lambda: not place.api.find(names.NETWORK_POLICY, place.namespace, "outdated"))
    assert place.api.get(names.NETWORK_POLICY, place.namespace, "copied") == copied


def test_our_children_are_known_again_without_their_labels(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    revision = place.owner()["status"]["stable"]["revision"]
    keys = place.key_files()
    #: Owned and mutable, owned and immutable, and one that outlives its owner and was drawn at random.
    stripped = [
        (names.SERVICE, "ccl-redis", {names.MANAGED_BY_LABEL: None}),
        (names.DEPLOYMENT, names.web("ccl", revision), {names.INSTANCE_LABEL: None}),
        (names.CONFIG_MAP, names.env("ccl", revision), {names.INSTANCE_LABEL: None}),
        (names.SECRET, names.keys("ccl"), None),
    ]
    before = {name: place.api.get(resource, place.namespace, name)["metadata"] for resource, name, _ in stripped}
    for resource, name, labels in stripped:
        place.api.patch(resource, place.namespace, name, {"metadata": {"labels": labels}})

    def repaired() -> bool:
        found = [place.api.get(resource, place.namespace, name)["metadata"] for resource, name, _ in stripped]
        return all(each.get("labels") == before[each["name"]]["labels"] for each in found)

    until("all are labelled as before", repaired)
    found = [place.api.get(resource, place.namespace, name)["metadata"]["uid"] for resource, name, _ in stripped]
    assert found == [each["uid"] for each in before.values()]
    assert place.key_files() == keys
    until("nothing is stuck", lambda: place.condition("Stalled").get("status") == "False")
