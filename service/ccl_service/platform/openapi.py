"""The OpenAPI 3.1 document of a route table: what is enforced, described from the same rows. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import (
    CONTENT_TYPE,
    CclError,
    DatabaseUnavailable,
    Forbidden,
    Malformed,
    MissingScope,
    NotFound,
    RateLimited,
    TooLarge,
    TooSlow,
    TryLater,
    Unauthenticated,
    UnsupportedType,
    ValidationFailed,
    catalogue,
)
from ccl_service.platform.route import JSON, Auth, Priority, Route

REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")

_OF_POLICY: Final[Mapping[Auth, tuple[type[CclError], ...]]] = {
    Auth.PUBLIC: (),
    Auth.SIGNATURE: (Unauthenticated,),
    Auth.KEY: (Unauthenticated, MissingScope),
    Auth.ROOT_KEY: (Unauthenticated, Forbidden),
    Auth.VISITOR: (Unauthenticated,),
}
_OF_BODY: Final = (Malformed, TooLarge, TooSlow, UnsupportedType)
SCHEMES: Final = {
    "bearerKey": {"type": "http", "scheme": "bearer", "description": "The root key, or a scoped key of /api/keys."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same in another header."},
    "visitorToken": {"type": "http", "scheme": "bearer", "description": "From POST /api/chat/sessions."},
}
DESCRIPTION: Final = """\
Errors are problem documents (RFC 9457): `code` is stable, `type` leads to its page, `retryable` says whether the same
request may work later. Times are ISO 8601 with a time zone. Lists are paged by `after`: give it the `next` of the page
before, until that is null. Every answer carries `X-Request-ID`; where a limit applies, `RateLimit` says what is left
and `RateLimit-Policy` what it is. A path that is not here answers 404, another method 405 with `Allow`, a head that is
too large 431.
"""
_TEXT: Final = {"type": "string"}
#: RFC 9457 with our extension members; ``platform.problems.as_document`` writes it.
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"],
    "properties": {
        "type": _TEXT | {"format": "uri-reference"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
        "code": _TEXT,
        "request_id": _TEXT,
        "retryable": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["in", "pointer", "code", "message"],
                "properties": {
                    "in": {"enum": ["body", "query", "header", "path"]},
                    "pointer": _TEXT | {"description": "A JSON Pointer after #; # alone is the whole."},
                    "code": _TEXT,
                    "message": _TEXT,
                },
            },
        },
    },
}
HEADERS: Final = {
    "X-Request-ID": {"description": "The caller's, or one made here; logs hold it.", "schema": _TEXT},
    "RateLimit": {"description": 'What is left: `"class";r=<requests>;t=<seconds>`.', "schema": _TEXT},
    "RateLimit-Policy": {"description": 'The limit: `"class";q=<requests>;w=<seconds>`.', "schema": _TEXT},
    "Retry-After": {"description": "Seconds until the same request may work.", "schema": {"type": "integer"}},
}


def document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The document; paths in the order of the table."""
    table = tuple(routes)
    schemas, definitions = _schemas(table)
    paths: dict[str, dict[str, Any]] = {}
    for row in table:
        path = _PARAMETER.sub(r"{\1}", row.path)
        paths.setdefault(path, {})[row.method.lower()] = _operation(row, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Complete Car Loans", "version": version, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": {**definitions, "Problem": PROBLEM},
            "securitySchemes": SCHEMES,
            "headers": HEADERS,
        },
    }


def problems_of(row: Route) -> tuple[type[CclError], ...]:
    """What a route may answer besides success, by code: what its policy and its input imply, and its own."""
    found: list[type[CclError]] = [CclError, *row.errors, *_OF_POLICY[row.auth]]
    if row.priority is not Priority.PROBE:
        found += [DatabaseUnavailable, TryLater]
    if row.limit is not LimitClass.NONE:
        found.append(RateLimited)
    if row.body is not None or row.consumes != JSON:
        found += _OF_BODY
    if row.body is not None or row.query is not None or row.headers:
        found.append(ValidationFailed)
    if _PARAMETER.search(row.path):
        found.append(NotFound)
    return catalogue(found)


#: By (model, mode).
Schemas = Mapping[Any, Mapping[str, Any]]


def _schemas(table: Sequence[Route]) -> tuple[Schemas, Mapping[str, Any]]:
    """Each model's schema by (model, mode), and the definitions they refer to."""
    wanted: dict[tuple[type[BaseModel], Any], None] = {}
    for row in table:
        for model, mode in ((row.body, "validation"), (row.query, "validation"), (row.response, "serialization")):
            if model is not None:
                wanted[model, mode] = None
    found, definitions = models_json_schema(list(wanted), ref_template=REF)
    return found, definitions.get("$defs", {})


def _operation(row: Route, schemas: Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{row.method.lower()}{row.path}").strip("_"),
        "tags": [_tag(row.path)],
        "summary": row.summary or _first_sentence(row.handler.__doc__ or ""),
        "security": _security(row),
        "responses": _answers(row, schemas),
        "x-ccl-limit": row.limit.value,
        "x-ccl-priority": row.priority.value,
    }
    if parameters := [*_path(row.path), *_query(row), *_headers(row)]:
        operation["parameters"] = parameters
    if row.body is not None or row.consumes != JSON:
        schema = schemas[row.body, "validation"] if row.body is not None else _TEXT
        operation["requestBody"] = {"required": True, "content": {row.consumes: {"schema": schema}}}
    if row.body_limit is not None:
        operation["x-ccl-body-limit"] = row.body_limit
    if row.audit is not None:
        operation["x-ccl-audit"] = row.audit
    return operation


def _first_sentence(docstring: str) -> str:
    """The first line without the route that it begins with, and without marks of code."""
    line = docstring.strip().partition("\n")[0].replace("``", "")
    told = re.sub(r"^[A-Z]+ [^:]+: ", "", line)
    return told[:1].upper() + told[1:]


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


def _path(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _TEXT | ({"format": "uuid"} if name == "id" else {})}
        for name in _PARAMETER.findall(path)
    ]


def _query(row: Route) -> list[dict[str, Any]]:
    if row.query is None:
        return []
    whole = row.query.model_json_schema(ref_template=REF)
    required = whole.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in whole.get("properties", {}).items()
    ]


def _headers(row: Route) -> list[dict[str, Any]]:
    return [{"name": n, "in": "header", "required": False, "description": d, "schema": _TEXT} for n, d in row.headers]


def _answers(row: Route, schemas: Schemas) -> dict[str, Any]:
    """Success, and one entry per status of a problem that names its codes."""
    found = {str(row.status): _success(row, schemas)}
    by_status: dict[int, list[type[CclError]]] = {}
    for kind in problems_of(row):
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        found[str(status)] = _problem(row, kinds)
    return found


def _success(row: Route, schemas: Schemas) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(row.status).phrase,
        "headers": _told(row, "X-Request-ID", "RateLimit", "RateLimit-Policy"),
    }
    if row.status not in {HTTPStatus.SWITCHING_PROTOCOLS, HTTPStatus.NO_CONTENT}:
        plain = {} if row.produces == JSON else _TEXT
        schema = schemas[row.response, "serialization"] if row.response is not None else plain
        answer["content"] = {row.produces: {"schema": schema}}
    return answer


def _problem(row: Route, kinds: Sequence[type[CclError]]) -> dict[str, Any]:
    names = ["X-Request-ID", *(["Retry-After"] if any(issubclass(k, TryLater) for k in kinds) else [])]
    return {
        "description": "; ".join(f"`{kind.code}` {kind.title}" for kind in kinds),
        "headers": _told(row, *names),
        "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}},
    }


def _told(row: Route, *names: str) -> dict[str, Any]:
    limited = row.limit is not LimitClass.NONE
    return {n: {"$ref": f"#/components/headers/{n}"} for n in names if limited or n in {"X-Request-ID", "Retry-After"}}
