"""What a repair changes, and what it leaves; that the API server takes it is tried in tests/operator/test_repair.py."""

from typing import Any

from ccl_operator import names
from ccl_operator.runtime.repair import disown, repair

PORT = {"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}
WANTED: dict[str, Any] = {
    "kind": "Service",
    "metadata": {"name": "ccl", "labels": {"a": "b"}},
    "spec": {"selector": {"app": "ccl"}, "ports": [PORT]},
}


def live(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, "spec": {**WANTED["spec"], "clusterIP": "10.0.0.1", **spec}}


def test_nothing_is_in_the_way_of_an_object_that_holds_all_of_ours() -> None:
    foreign = {"name": "other", "port": 81, "protocol": "TCP"}
    assert repair(WANTED, live(ports=[foreign, {**PORT, "nodePort": 30000}])) == []


def test_an_item_of_our_name_with_other_contents_is_replaced_in_its_place() -> None:
    assert repair(WANTED, live(ports=[{"name": "x", "port": 9}, {**PORT, "port": 81}])) == [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "replace", "path": "/spec/ports/1", "value": PORT},
    ]


def test_a_list_without_our_item_is_replaced_whole() -> None:
    assert repair(WANTED, live(ports=[{"port": 81}]))[1:] == [
        {"op": "replace", "path": "/spec/ports", "value": [PORT]},
    ]


def test_metadata_and_what_is_missing_are_left_to_the_apply() -> None:
    assert repair(WANTED, {"metadata": {"resourceVersion": "7"}, "spec": {"clusterIP": "10.0.0.1"}}) == []


def test_names_with_slashes_are_escaped() -> None:
    wanted = {"metadata": {}, "spec": {"a/b~c": {"list": [{"name": "x", "value": 1}]}}}
    found = {"metadata": {"resourceVersion": "7"}, "spec": {"a/b~c": {"list": [{"name": "x", "value": 2}]}}}
    assert repair(wanted, found)[1]["path"] == "/spec/a~1b~0c/list/0"


def test_only_the_ownership_of_a_repair_is_given_up() -> None:
    mine = {"manager": names.FIELD_MANAGER, "operation": "Apply"}
    status = {"manager": names.FIELD_MANAGER, "operation": "Update", "subresource": "status"}
    repaired = {"manager": names.FIELD_MANAGER, "operation": "Update"}
    other = {"manager": "kubectl", "operation": "Update"}
    metadata = {"resourceVersion": "7", "managedFields": [mine, status, repaired, other]}
    assert disown({"metadata": metadata})[1]["value"] == [mine, status, other]
    assert disown({"metadata": {**metadata, "managedFields": [mine, other]}}) == []
