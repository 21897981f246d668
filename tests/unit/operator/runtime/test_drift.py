"""When a live object counts as having the wanted form."""

from typing import Any

import pytest

from ccl_operator import names
from ccl_operator.runtime.drift import NEVER_APPLIED, drift


def live(fields: dict[str, Any], manager: str = names.FIELD_MANAGER, **content: Any) -> dict[str, Any]:
    """A live object whose ``fields`` belong to ``manager``."""
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    return {"metadata": {"name": "x", "namespace": "n", "managedFields": [entry]}, **content}


def wanted(**content: Any) -> dict[str, Any]:
    """A manifest."""
    return {"apiVersion": "v1", "kind": "X", "metadata": {"name": "x", "namespace": "n"}, **content}


OWNED = {"f:spec": {"f:replicas": {}}}


def test_equal_owned_fields_are_no_drift() -> None:
    assert drift(wanted(spec={"replicas": 2}), live(OWNED, spec={"replicas": 2})) == ()


def test_fields_of_others_do_not_matter() -> None:
    assert drift(wanted(spec={"replicas": 2}), live(OWNED, spec={"replicas": 2, "paused": True})) == ()


def test_a_changed_value_is_named_by_its_path() -> None:
    assert drift(wanted(spec={"replicas": 2}), live(OWNED, spec={"replicas": 7})) == (".spec.replicas",)


def test_a_field_that_somebody_took_over_is_named() -> None:
    """Whoever changes a field by an update becomes its owner, and we are not any more."""
    found = live({"f:spec": {"f:paused": {}}}, spec={"replicas": 7, "paused": True})
    assert drift(wanted(spec={"replicas": 2, "paused": True}), found) == (".spec.replicas",)


def test_a_field_no_longer_wanted_is_named() -> None:
    owned = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
    found = live(owned, spec={"replicas": 2, "paused": True})
    assert drift(wanted(spec={"replicas": 2}), found) == (".spec.paused",)


def test_an_object_that_we_never_applied_differs() -> None:
    assert drift(wanted(spec={}), live(OWNED, manager="kubectl", spec={})) == NEVER_APPLIED


def test_labels_are_compared_one_by_one() -> None:
    manifest = wanted()
    manifest["metadata"] = manifest["metadata"] | {"labels": {"a": "1", "b": "2"}}
    found = live({"f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}}})
    found["metadata"]["labels"] = {"a": "1", "b": "3", "foreign": "4"}
    assert drift(manifest, found) == (".metadata.labels.b",)


LIST = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {"f:port": {}, "f:protocol": {}, "f:name": {}}}}}
PORT = {"port": 80, "protocol": "TCP", "name": "http"}


def test_list_items_are_found_by_their_key_wherever_they_stand() -> None:
    other = {"port": 81, "protocol": "TCP"}
    assert drift(wanted(spec={"ports": [PORT]}), live(LIST, spec={"ports": [other, PORT | {"nodePort": 3}]})) == ()


def test_a_changed_list_item_is_named_by_its_key() -> None:
    found = live(LIST, spec={"ports": [PORT | {"name": "web"}]})
    assert drift(wanted(spec={"ports": [PORT]}), found) == ('.spec.ports[{"port":80,"protocol":"TCP"}].name',)


def test_an_added_and_a_removed_list_item_are_both_named() -> None:
    added = {"port": 443, "protocol": "TCP"}
    reasons = drift(wanted(spec={"ports": [added]}), live(LIST, spec={"ports": [PORT]}))
    assert reasons == ('.spec.ports[{"port":80,"protocol":"TCP"}]', ".spec.ports[0]")


@pytest.mark.parametrize(
    ("want", "found"),
    [({}, {"medium": ""}), ([], None), (None, None), (("a", "b"), ["a", "b"]), ({"a": ("b",)}, {"a": ["b"]})],
)
def test_a_leaf_is_equal_when_the_api_server_answers_with_its_own_spelling(want: Any, found: Any) -> None:
    spec = {} if found is None else {"leaf": found}
    assert drift(wanted(spec={"leaf": want}), live({"f:spec": {"f:leaf": {}}}, spec=spec)) == ()


def test_reasons_never_hold_values() -> None:
    owned = {"f:data": {"f:token": {}}}
    reasons = drift(wanted(data={"token": "secret-one"}), live(owned, data={"token": "secret-two"}))
    assert reasons == (".data.token",)
