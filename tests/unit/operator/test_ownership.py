"""Whose an object is: an owner reference says it for sure, labels only where there is none."""

from typing import Any

import pytest

from ccl_operator import names
from ccl_operator.ownership import Standing, standing

OWNER = {"metadata": {"name": "ccl", "namespace": "loans", "uid": "mine"}}
API = names.OWNER.api_version
OURS = {"apiVersion": API, "kind": "CclDeployment", "name": "ccl", "uid": "mine"}
PREDECESSOR = OURS | {"uid": "gone"}
SIBLING = OURS | {"name": "other", "uid": "its"}
SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": "y"}
NAMESAKE = {"apiVersion": "example.com/v1", "kind": "CclDeployment", "name": "ccl", "uid": "y"}
LABELS = names.labels("ccl")
APPLIED = {"manager": names.FIELD_MANAGER, "operation": "Apply", "apiVersion": "v1", "fieldsV1": {}}
BY_KUBECTL = APPLIED | {"manager": "kubectl"}
OF_STATUS = APPLIED | {"subresource": "status"}

CASES: list[tuple[list[dict[str, str]], dict[str, str], list[dict[str, Any]], Standing]] = [
    ([OURS], LABELS, [], "ours"),
    ([OURS], {}, [], "ours"),
    ([OURS], names.labels("other"), [], "ours"),
    ([SET, OURS], {}, [], "ours"),
    ([PREDECESSOR], LABELS, [APPLIED], "predecessor"),
    ([PREDECESSOR], {}, [], "predecessor"),
    ([SIBLING], names.labels("other"), [APPLIED], "foreign"),
    ([SIBLING], LABELS, [APPLIED], "foreign"),
    ([SET], LABELS, [APPLIED], "foreign"),
    ([NAMESAKE], LABELS, [APPLIED], "foreign"),
    ([], LABELS, [], "ours"),
    ([], {}, [APPLIED], "ours"),
    ([], {names.INSTANCE_LABEL: "ccl"}, [BY_KUBECTL, APPLIED], "ours"),
    ([], names.labels("other"), [APPLIED], "foreign"),
    ([], {names.MANAGED_BY_LABEL: "helm"}, [APPLIED], "foreign"),
    ([], {}, [BY_KUBECTL, OF_STATUS], "foreign"),
    ([], {names.INSTANCE_LABEL: "ccl"}, [], "foreign"),
    ([], {}, [], "foreign"),
]


@pytest.mark.parametrize(("references", "labels", "managed", "expected"), CASES)
def test_whose_it_is(
    references: list[dict[str, str]], labels: dict[str, str], managed: list[dict[str, Any]], expected: Standing
) -> None:
    metadata = {"name": "x", "labels": labels, "ownerReferences": references, "managedFields": managed}
    assert standing({"metadata": metadata}, OWNER) == expected


def test_an_object_without_any_metadata_of_that_sort_is_a_strangers() -> None:
    assert standing({"metadata": {"name": "x"}}, OWNER) == "foreign"
