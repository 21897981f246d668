"""The OpenAPI 3.1 document of the route table, at ``/api/openapi.json``."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from ccl_service.platform.body import dump_json
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import CONTENT_TYPE
from ccl_service.platform.route import Auth, Priority, Route

PATH: Final = "/api/openapi.json"
REF: Final = "#/components/schemas/{model}"
_PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")

_KEYS: Final[Sequence[Mapping[str, list[str]]]] = ({"bearerKey": []}, {"apiKey": []})
SECURITY: Final[Mapping[Auth, Sequence[Mapping[str, list[str]]]]] = {
    Auth.PUBLIC: (),
    Auth.SIGNATURE: (),
    Auth.ROOT_KEY: _KEYS,
    Auth.KEY: _KEYS,
    Auth.VISITOR: ({"visitorToken": []},),
}
SCHEMES: Final = {
    "bearerKey": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "visitorToken": {"type": "http", "scheme": "bearer", "description": "from POST /api/chat/sessions"},
}
_TEXT: Final = {"type": "string"}
#: RFC 9457 with our extension members; ``platform.problems.as_document`` writes it.
PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id", "retryable"],
    "properties": {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "instance": _TEXT,
        "code": _TEXT,
        "request_id": _TEXT,
        "retryable": {"type": "boolean"},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": _TEXT, "code": _TEXT, "message": _TEXT}},
        },
    },
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
        "info": {"title": "Complete Car Loans", "version": version},
        "paths": paths,
        "components": {"schemas": {**definitions, "Problem": PROBLEM}, "securitySchemes": SCHEMES},
    }


def openapi_route(routes: Iterable[Route], *, version: str) -> Route:
    """The row that serves the document of ``routes``."""
    text = dump_json(document(routes, version=version))

    async def get_document(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/json")

    return Route(
        "GET",
        PATH,
        get_document,
        Auth.PUBLIC,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        summary="This document",
    )


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
    summary = row.summary or (row.handler.__doc__ or "").strip().partition("\n")[0]
    operation: dict[str, Any] = {
        "summary": summary,
        "security": list(SECURITY[row.auth]),
        "responses": {str(row.status): _answer(row, schemas), "default": _problem()},
    }
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": _TEXT} for name in _PARAMETER.findall(row.path)
    ]
    if row.query is not None:
        parameters += _query(row.query)
    if parameters:
        operation["parameters"] = parameters
    if row.body is not None:
        content = {"application/json": {"schema": schemas[row.body, "validation"]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _query(model: type[BaseModel]) -> list[dict[str, Any]]:
    whole = model.model_json_schema(ref_template=REF)
    required = whole.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in whole.get("properties", {}).items()
    ]


def _answer(row: Route, schemas: Schemas) -> dict[str, Any]:
    if row.response is None:
        return {"description": "done"}
    return {"description": "done", "content": {"application/json": {"schema": schemas[row.response, "serialization"]}}}


def _problem() -> dict[str, Any]:
    return {"description": "a problem", "content": {CONTENT_TYPE: {"schema": {"$ref": REF.format(model="Problem")}}}}
