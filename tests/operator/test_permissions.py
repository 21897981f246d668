"""A missing permission is named, where whoever has to grant it looks."""

from typing import Any

from ccl_operator import names
from ccl_operator.runtime import rbac
from tests.operator.conftest import ROLES, Place
from tests.operator.operator_process import until


def _without(plural: str, *verbs: str) -> list[dict[str, Any]]:
    return [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb not in verbs]}
        if rule["resources"] == [plural]
        else rule
        for rule in rbac.rules()
    ]


def _set_rules(place: Place, rules: list[dict[str, Any]]) -> None:
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator", {"rules": rules})


def test_a_missing_write_permission_is_named_in_the_condition_and_ends_when_granted(place: Place) -> None:
    _set_rules(place, _without("statefulsets", "create"))
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "Forbidden")
    message = place.condition("Stalled")["message"]
    assert "statefulsets" in message
    assert "create" in message
    _set_rules(place, rbac.rules())
    place.promote()


def test_a_missing_permission_is_told_in_an_event_and_a_metric_too(place: Place) -> None:
    _set_rules(place, _without("statefulsets", "create"))
    operator = place.start_operator()
    place.create()

    def told() -> bool:
        events = place.api.list(rbac.EVENT, place.namespace)
        return any(event["reason"] == "Forbidden" and "statefulsets" in event["note"] for event in events)

    until("the event is there", told)
    assert operator.metric('ccl_operator_forbidden_total{resource="statefulsets"}') >= 1


def test_without_a_watch_permission_the_operator_ends_and_names_it(place: Place) -> None:
    _set_rules(place, _without("pods", "watch"))
    operator = place.launch_operator()
    assert operator.wait_ended() == 1
    assert f"watch pods of the core API group in namespace {place.namespace}" in operator.log()


def test_no_permission_is_a_wildcard_and_none_allows_to_delete_volumes() -> None:
    """The suite runs with exactly the generated role; here its size is held down."""
    for rule in rbac.rules():
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
    volumes = next(rule for rule in rbac.rules() if rule["resources"] == [names.VOLUME_CLAIM.plural])
    assert "delete" not in volumes["verbs"]
