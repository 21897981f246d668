"""The table that ships: no row without a policy, nothing described that is not there."""

import importlib
import math
import pkgutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

import ccl_service
from ccl_service.main import route_table
from ccl_service.platform.bounds import default_bounds
from ccl_service.platform.description import Description
from ccl_service.platform.json_input import MAX_DEPTH
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import CclError, descendants, meaning
from ccl_service.platform.route import JSON, Auth, Priority, Route, Scope, largest_body

TABLE = route_table()
DESCRIBED = Description(TABLE, version="1", bounds=default_bounds())
NAMES = [f"{row.method} {row.path}" for row in TABLE]
#: The documented exceptions to "a key for all non-health endpoints": what a browser or a mailbox provider needs.
OPEN = {
    "/live",
    "/ready",
    "/health",
    "/api/monitoring/live",
    "/api/monitoring/ready",
    "/api/monitoring/health",
    "/api/monitoring/production-readiness",
    "/api/chat/sessions",
    "/api/chat/ws",
    "/api/r/{token}",
    "/api/u/{token}",
    "/api/openapi.json",
    "/api/docs",
    "/api/static/{name}",
    "/api/problems",
    "/api/problems/{code}",
}


@pytest.mark.parametrize("row", TABLE, ids=NAMES)
def test_every_row_has_a_policy(row: Route) -> None:
    assert isinstance(row.auth, Auth)
    assert isinstance(row.limit, LimitClass)
    assert isinstance(row.priority, Priority)
    assert (row.scope is not None) == (row.auth is Auth.KEY)


def test_only_the_documented_exceptions_are_open() -> None:
    assert {row.path for row in TABLE if row.auth is Auth.PUBLIC} == OPEN


def test_only_probes_have_no_limit() -> None:
    unlimited = [row for row in TABLE if row.limit is LimitClass.NONE]
    assert all(row.priority is Priority.PROBE and row.auth is Auth.PUBLIC for row in unlimited)


def test_whoever_may_only_read_changes_nothing() -> None:
    changing = [row for row in TABLE if row.scope and row.method != "GET"]
    assert [row.path for row in changing if row.scope and row.scope.value.endswith((":read", ":scrape"))] == []


def test_no_row_brings_a_limit_that_callers_bring_along() -> None:
    assert all(row.limit not in {LimitClass.KEY, LimitClass.CHAT_ADDRESS} for row in TABLE)


def test_what_a_conversation_does_is_limited_as_such() -> None:
    assert {row.limit for row in TABLE if row.auth is Auth.VISITOR} == {LimitClass.CHAT}


def test_every_scope_opens_something() -> None:
    assert {row.scope for row in TABLE if row.scope} == set(Scope)


BODY_LIMIT_BYTES = 10_485_760


def test_nobody_sends_much_before_having_shown_a_key() -> None:
    unknown = [row for row in TABLE if row.auth in {Auth.PUBLIC, Auth.VISITOR, Auth.SIGNATURE}]
    assert [row.path for row in unknown if largest_body(row, BODY_LIMIT_BYTES) > 262_144] == []


def test_every_row_with_a_json_body_says_how_large_it_may_be() -> None:
    assert [row.path for row in TABLE if row.body is not None and row.consumes == JSON and not row.body_limit] == []


def deepest(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> float:
    """How many objects and arrays stand in each other at most; infinite when others choose what stands there."""
    if "$ref" in schema:
        return deepest(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    match schema.get("type"):
        case "array":
            return 1 + deepest(schema["items"], whole)
        case "object" if schema.get("additionalProperties") is False:
            return 1 + max(deepest(one, whole) for one in schema["properties"].values())
        case "object":
            return math.inf
        case _:
            return max((deepest(one, whole) for one in schema.get("anyOf", ())), default=0)


@pytest.mark.parametrize("row", [row for row in TABLE if row.body], ids=lambda row: f"{row.method} {row.path}")
def test_a_json_body_may_be_nested_one_deeper_than_its_model(row: Route) -> None:
    assert row.body is not None
    whole = row.body.model_json_schema()
    assert row.body_depth == min(deepest(whole, whole) + 1, MAX_DEPTH)


def test_the_setting_lowers_the_limit_of_json_and_not_that_of_files() -> None:
    limits = {
        row.path: (largest_body(row, BODY_LIMIT_BYTES), largest_body(row, 1024)) for row in TABLE if row.body_limit
    }
    assert {small for _, small in limits.values()} == {1024, 104_857_600}
    assert limits["/api/leads/import"] == (104_857_600, 104_857_600)
    assert limits["/api/chat/sessions"] == (16_384, 1024)


def test_no_row_appears_twice() -> None:
    assert [name for name, count in Counter(NAMES).items() if count > 1] == []


@pytest.mark.parametrize(
    "change",
    [
        {"auth": None},
        {"limit": None},
        {"priority": None},
        {"auth": Auth.KEY, "scope": None},
        {"auth": Auth.ROOT_KEY, "scope": Scope.LEADS_READ},
    ],
)
def test_a_row_without_a_whole_policy_cannot_be_written(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no policy"):
        replace(TABLE[0], **change)


def errors_anywhere() -> set[str]:
    """The codes of every error class of the service, whether or not the route table leads to its module."""
    for module in pkgutil.walk_packages(ccl_service.__path__, "ccl_service."):
        if not module.name.startswith("ccl_service.migrations") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {kind.code for kind in descendants(CclError) if kind.__module__.startswith("ccl_service")}


def test_every_error_has_a_page() -> None:
    assert errors_anywhere() <= set(DESCRIBED.problems)


def test_every_error_says_what_it_means_and_what_to_do() -> None:
    for kind in descendants(CclError):
        if kind.__module__.startswith("ccl_service"):
            assert meaning(kind).endswith("."), kind
            assert kind.remedy.endswith("."), kind
            assert 400 <= kind.status < 600


def test_one_code_means_one_thing() -> None:
    titles: dict[str, set[tuple[int, str]]] = {}
    for kind in descendants(CclError):
        if kind.__module__.startswith("ccl_service"):
            titles.setdefault(kind.code, set()).add((kind.status, kind.title))
    assert {code: said for code, said in titles.items() if len(said) > 1} == {}
