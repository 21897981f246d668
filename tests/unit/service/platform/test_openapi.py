"""The API's document: nothing missing, nothing that is not so, every schema with an example that fits it."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel

from ccl_service.main import route_table
from ccl_service.platform.bounds import default_bounds
from ccl_service.platform.description import Description
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.middleware import SECURITY_HEADERS
from ccl_service.platform.openapi_answers import path_of
from ccl_service.platform.problems import CONTENT_TYPE
from ccl_service.platform.route import JSON, Auth, Priority, Route

TABLE = route_table()
DOCUMENT: Mapping[str, Any] = Description(TABLE, version="1", bounds=default_bounds()).document
SERVED = [(row, method) for row in TABLE for method in row.methods]
NAMES = [f"{method} {row.path}" for row, method in SERVED]


def operation(row: Route, method: str = "") -> Mapping[str, Any]:
    found: Mapping[str, Any] = DOCUMENT["paths"][path_of(row)][(method or row.method).lower()]
    return found


def at(path: str, method: str = "get") -> Mapping[str, Any]:
    found: Mapping[str, Any] = DOCUMENT["paths"][path][method]
    return found


def resolved(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference into the document refers to."""
    while "$ref" in node:
        part: Any = DOCUMENT
        for name in node["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        node = part
    return node


def response(row: Route, status: int, method: str = "") -> Mapping[str, Any]:
    return resolved(operation(row, method)["responses"][str(status)])


def answers(row: Route, method: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    for status, told in operation(row, method)["responses"].items():
        yield status, resolved(told)


def codes(told: Mapping[str, Any]) -> set[str]:
    """The problem codes of a response."""
    schema = told["content"][CONTENT_TYPE]["schema"]
    return set(schema["properties"]["code"]["enum"])


def examples(content: Mapping[str, Any]) -> list[Any]:
    given = [content["example"]] if "example" in content else []
    return given + [resolved(one)["value"] for one in content.get("examples", {}).values()]


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    whole = dict(schema) | {"components": DOCUMENT["components"]}
    checker = FormatChecker(formats=("uuid", "date-time", "email", "ipv4"))
    return Draft202012Validator(whole, format_checker=checker).is_valid(value)


def test_the_document_is_valid_openapi_3_1() -> None:
    OpenAPIV31SpecValidator(dict(DOCUMENT)).validate()  # type: ignore[arg-type]


def test_every_way_a_row_is_served_is_in_the_document_under_a_name_of_its_own() -> None:
    names = [operation(row, method)["operationId"] for row, method in SERVED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("row", "method"), SERVED, ids=NAMES)
def test_every_operation_says_what_it_does_and_what_may_go_wrong(row: Route, method: str) -> None:
    told = operation(row, method)
    assert told["summary"]
    assert "500" in told["responses"]
    assert row.auth is Auth.PUBLIC or "401" in told["responses"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_too_many_requests_are_told_where_a_limit_applies_and_too_many_connections_everywhere(row: Route) -> None:
    limited = {"RATE_LIMIT_001"} if row.limit is not LimitClass.NONE else set()
    assert codes(response(row, 429)) == {"RATE_LIMIT_002"} | limited


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_all_but_probes_tell_that_they_may_be_turned_away_under_load(row: Route) -> None:
    sheds = any("SYSTEM_003" in str(told) for told in operation(row)["responses"].values())
    assert sheds == (row.priority is not Priority.PROBE)


@pytest.mark.parametrize(("row", "method"), SERVED, ids=NAMES)
def test_every_answer_has_the_headers_of_every_answer(row: Route, method: str) -> None:
    for status, told in answers(row, method):
        promised = {name for name, header in told["headers"].items() if resolved(header)["required"]}
        assert {"X-Request-ID", *SECURITY_HEADERS} - {"Server"} <= promised, status


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_what_may_be_repeated_says_when(row: Route) -> None:
    for status, told in answers(row):
        if status in {"429", "503"} and set(told["content"]) == {CONTENT_TYPE}:
            assert resolved(told["headers"]["Retry-After"])["required"]


@pytest.mark.parametrize(("row", "method"), SERVED, ids=NAMES)
def test_every_json_answer_has_a_schema_and_an_example_that_fits_it(row: Route, method: str) -> None:
    for status, told in answers(row, method):
        for media, content in told.get("content", {}).items():
            if media in {JSON, CONTENT_TYPE}:
                assert content["schema"], status
                assert examples(content), status
            for value in examples(content) if media in {JSON, CONTENT_TYPE} else ():
                assert fits(value, content["schema"]), (status, value)


def accepted(model: type[BaseModel], value: Any) -> bool:
    return bool(model.model_validate(value))


@pytest.mark.parametrize("row", [row for row in TABLE if any(a.model for a in row.answers)], ids=lambda row: row.path)
def test_the_example_of_an_answer_is_one_of_its_model(row: Route) -> None:
    for answer in row.answers:
        if answer.model is not None and answer.produces == JSON:
            shown = resolved(operation(row)["responses"][str(answer.status)])["content"][JSON]["examples"]
            assert accepted(answer.model, shown[answer.model.__name__]["value"])


@pytest.mark.parametrize("row", [r for r in TABLE if "requestBody" in operation(r)], ids=lambda row: row.path)
def test_every_body_has_an_example_that_fits_its_schema_and_is_accepted(row: Route) -> None:
    (content,) = operation(row)["requestBody"]["content"].values()
    (value,) = examples(content)
    assert fits(value, content["schema"])
    assert value
    assert row.body is None or accepted(row.body, value)


@pytest.mark.parametrize("row", [r for r in TABLE if "parameters" in operation(r)], ids=lambda row: row.path)
def test_every_parameter_has_an_example_that_fits_its_schema_and_is_accepted(row: Route) -> None:
    parameters = operation(row)["parameters"]
    for one in parameters:
        assert fits(one["example"], one["schema"]), one["name"]
    if row.query is not None:
        assert accepted(row.query, {one["name"]: one["example"] for one in parameters if one["in"] == "query"})


@pytest.mark.parametrize(
    ("path", "method", "figures"),
    [
        ("/api/leads", "post", {"class": "default", "requests": 100, "seconds": 60}),
        ("/api/chat", "post", {"class": "chat", "requests": 60, "seconds": 60}),
        ("/api/monitoring/metrics", "get", {"class": "monitoring", "requests": 120, "seconds": 60}),
        ("/api/u/{token}", "get", {"class": "failures", "requests": 100, "seconds": 60}),
    ],
)
def test_an_operation_names_its_limit_in_figures(path: str, method: str, figures: Mapping[str, Any]) -> None:
    told = at(path, method)
    assert told["x-ccl-limit"] == figures
    assert f"At most {figures['requests']} requests in {figures['seconds']} s" in told["description"]


def test_a_probe_names_no_limit() -> None:
    assert "x-ccl-limit" not in at("/live")


@pytest.mark.parametrize(
    ("path", "most"),
    [("/api/leads", 65_536), ("/api/webhooks/mailgun", 262_144), ("/api/leads/import", 104_857_600)],
)
def test_what_takes_a_body_names_how_large_it_may_be(path: str, most: int) -> None:
    assert at(path, "post")["x-ccl-body-limit"] == most


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.method} {row.path}")
def test_what_takes_json_names_how_deeply_it_may_be_nested(row: Route) -> None:
    told = operation(row)
    assert told.get("x-ccl-body-depth") == (row.body_depth if row.body else None)
    assert (f"Nested at most {row.body_depth} deep." in told.get("description", "")) == bool(row.body)


def test_what_needs_a_key_names_the_scope() -> None:
    assert at("/api/leads", "post")["security"] == [{"bearerKey": ["leads:write"]}, {"apiKey": ["leads:write"]}]
    assert at("/api/keys", "post")["security"] == [{"bearerKey": ["root"]}, {"apiKey": ["root"]}]
    assert at("/api/chat", "post")["security"] == [{"visitorToken": []}]
    assert at("/live")["security"] == []


def test_an_intake_answers_201_for_new_and_200_for_known_people() -> None:
    told = at("/api/leads", "post")["responses"]
    assert told["200"]["content"] == told["201"]["content"]


@pytest.mark.parametrize("path", ["/ready", "/health"])
def test_a_probe_that_is_red_answers_503_with_a_document_of_its_own(path: str) -> None:
    assert set(at(path)["responses"]["503"]["content"]) == {JSON}


def test_probes_are_served_to_head_without_bodies() -> None:
    assert all("content" not in resolved(told) for told in at("/ready", "head")["responses"].values())


@pytest.mark.parametrize("path", ["/api/problems", "/api/monitoring/profile"])
def test_an_answer_in_two_forms_names_both(path: str) -> None:
    assert set(at(path)["responses"]["200"]["content"]) == {JSON, "text/html"}


@pytest.mark.parametrize("row", [row for row in TABLE if row.links], ids=lambda row: f"{row.method} {row.path}")
def test_a_link_leads_to_an_operation_that_has_its_parameters(row: Route) -> None:
    by_id = {one["operationId"]: one for methods in DOCUMENT["paths"].values() for one in methods.values()}
    for told in operation(row)["responses"].values():
        for link in resolved(told).get("links", {}).values():
            names = {one["name"] for one in by_id[link["operationId"]].get("parameters", ())}
            assert set(link["parameters"]) <= names
