"""The OpenAPI 3.1 document of a route table: what is enforced, described from the same rows. Pure.

What a route answers, with its headers and problems, is ``platform.openapi_answers``.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ccl_service.platform.bounds import Bounds
from ccl_service.platform.examples import ID, example
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.openapi_answers import (
    HEADERS,
    PATH_PARAMETER,
    PROBLEM,
    REF,
    Schemas,
    answers,
    mode,
    operation_id,
    path_of,
    problem_examples,
    responses,
)
from ccl_service.platform.route import JSON, Auth, Route, largest_body

SCHEMES: Final = {
    "bearerKey": {"type": "http", "scheme": "bearer", "description": "The root key, or a scoped key of /api/keys."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header."},
    "visitorToken": {"type": "http", "scheme": "bearer", "description": "From POST /api/chat/sessions."},
}
DESCRIPTION: Final = """\
Errors are problem documents (RFC 9457): `code` is stable, `type` leads to its page, `retryable` says whether the same
request may work later. Times are ISO 8601 with a time zone. Lists are paged by `after`: give it the `next` of the page
before, until that is null. Every answer carries `X-Request-ID` (the caller's, where it is 8 to 64 of the characters
A-Z a-z 0-9 . _ -) and the security headers; where a limit applies, `RateLimit` says what is left and `RateLimit-Policy`
what it is. A path that is not here answers 404, another method 405 with `Allow`, a head that is too large 431. Pages of
the allowed origins may read every answer (CORS).
"""
#: Of path parameters, by name.
PATH_EXAMPLES: Final[Mapping[str, str]] = {
    "id": ID,
    "token": "eyJsIjoiMGIwZTdlMGUifQ.c2lnbmF0dXJl",
    "code": "NOT_FOUND_001",
    "table": "sends",
    "name": "style.0f1e2d3c4b5a6978.css",
}
#: Who is counted, by class.
_COUNTED: Final[Mapping[LimitClass, str]] = {
    LimitClass.DEFAULT: "from one address; a scoped key brings a limit of its own instead",
    LimitClass.MONITORING: "from one address; a scoped key brings a limit of its own instead",
    LimitClass.CHAT: "in one conversation; all of one address together have a higher limit",
    LimitClass.CHAT_OPENING: "from one address",
    LimitClass.FAILURES: "from one address; only those count that are refused",
}


@dataclass(frozen=True, slots=True)
class _Described:
    """What the parts of the document share: each model's schema, those they refer to, and the deployment's bounds."""

    schemas: Schemas
    definitions: Mapping[str, Any]
    bounds: Bounds


def document(routes: Iterable[Route], *, version: str, bounds: Bounds) -> dict[str, Any]:
    """The document; paths in the order of the table."""
    table = tuple(routes)
    schemas, definitions = _schemas(table)
    described = _Described(schemas, definitions, bounds)
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        for method in row.methods:
            paths.setdefault(path_of(row), {})[method.lower()] = _operation(row, method, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Complete Car Loans", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": PROBLEM},
            "responses": responses(table),
            "examples": problem_examples(table),
            "securitySchemes": SCHEMES,
            "headers": HEADERS,
        },
    }


def _schemas(table: Sequence[Route]) -> tuple[Schemas, Mapping[str, Any]]:
    """Each model's schema by (model, mode), and the definitions they refer to."""
    wanted = dict.fromkeys(pair for row in table for pair in _models(row))
    found, definitions = models_json_schema(list(wanted), ref_template=REF)
    return found, definitions.get("$defs", {})


def _models(row: Route) -> Iterator[tuple[type[BaseModel], Any]]:
    for taken in (row.body, row.query):
        if taken is not None:
            yield taken, "validation"
    for answer in row.answers:
        if answer.model is not None:
            yield answer.model, mode(answer)


def _operation(row: Route, method: str, described: _Described) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(method, row.path),
        "tags": [_tag(row.path)],
        "summary": row.summary,
        "security": _security(row),
        "responses": answers(row, method, described.schemas, described.definitions),
        "x-ccl-priority": row.priority.value,
    }
    if parameters := [*_path(row.path), *_query(row), *_headers(row)]:
        operation["parameters"] = parameters
    if body := _body(row, described):
        operation["requestBody"] = body
    if told := _bounds(row, described.bounds):
        operation |= told
    if row.audit is not None:
        operation["x-ccl-audit"] = row.audit
    return operation


def _tag(path: str) -> str:
    parts = [part for part in path.split("/") if part and part != "api"]
    return parts[0] if path.startswith("/api/") and parts else "probes"


def _security(row: Route) -> list[dict[str, list[str]]]:
    """Roles of a scheme that knows none by itself: OpenAPI 3.1, Security Requirement Object."""
    if row.auth is Auth.VISITOR:
        return [{"visitorToken": []}]
    if row.auth not in {Auth.KEY, Auth.ROOT_KEY}:
        return []
    roles = [row.scope.value] if row.scope is not None else ["root"]
    return [{"bearerKey": roles}, {"apiKey": roles}]


def _body(row: Route, described: _Described) -> dict[str, Any] | None:
    if row.body is not None:
        schema = described.schemas[row.body, "validation"]
        shown = {"schema": schema, "example": example(schema, described.definitions)}
    elif row.consumes != JSON:
        shown = {"schema": {"type": "string"}, "example": row.body_example}
    else:
        return None
    return {"required": True, "content": {row.consumes: shown}}


def _bounds(row: Route, bounds: Bounds) -> dict[str, Any]:
    """In words for readers, and in figures for programs."""
    told: dict[str, Any] = {}
    words = []
    limit = bounds.limits.get(row.limit)
    if limit is not None:
        window = int(limit.window.total_seconds())
        words.append(f"At most {limit.most} requests in {window} s {_COUNTED[row.limit]}.")
        told["x-ccl-limit"] = {"class": row.limit.value, "requests": limit.most, "seconds": window}
    if row.body is not None or row.consumes != JSON:
        most = largest_body(row, bounds.body_bytes)
        words.append(f"At most {most} bytes.")
        told["x-ccl-body-limit"] = most
    if row.body is not None:
        words.append(f"Nested at most {row.body_depth} deep.")
        told["x-ccl-body-depth"] = row.body_depth
    return {"description": " ".join(words), **told} if words else {}


def _path(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string"} | ({"format": "uuid"} if name == "id" else {}),
            "example": PATH_EXAMPLES[name],
        }
        for name in PATH_PARAMETER.findall(path)
    ]


def _query(row: Route) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    whole = row.query.model_json_schema(ref_template=REF)
    required = whole.get("required", [])
    definitions = whole.get("$defs", {})
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": schema,
            "example": example(schema, definitions),
        }
        for name, schema in whole.get("properties", {}).items()
    ]


def _headers(row: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": header.name,
            "in": "header",
            "required": False,
            "description": header.meaning,
            "schema": {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {}),
            "example": header.example,
        }
        for header in row.headers
    ]
