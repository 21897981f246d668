"""What a route may answer, as the OpenAPI document tells it: successes, problems, headers, where to go on. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from ccl_service.platform.examples import ID, example
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.middleware import HSTS, SECURITY_HEADERS
from ccl_service.platform.problems import (
    CONTENT_TYPE,
    TYPE_BASE,
    CclError,
    DatabaseUnavailable,
    Forbidden,
    HeadTooLarge,
    Malformed,
    MissingScope,
    NotFound,
    Overloaded,
    RateLimited,
    StatementAborted,
    TooLarge,
    TooManyConnections,
    TooSlow,
    TryLater,
    Unauthenticated,
    UnsupportedType,
    ValidationFailed,
    catalogue,
)
from ccl_service.platform.route import EVENT_STREAM, JSON, Answer, Auth, Link, Priority, Route

REF: Final = "#/components/schemas/{model}"
PATH_PARAMETER: Final = re.compile(r"{(\w+)(?::[^}]*)?}")
#: By (model, mode).
Schemas = Mapping[Any, Mapping[str, Any]]

#: What befalls a connection, or bytes that are no request of HTTP's.
_OF_ANY: Final = (CclError, HeadTooLarge, Malformed, TooManyConnections)
_OF_POLICY: Final[Mapping[Auth, tuple[type[CclError], ...]]] = {
    Auth.PUBLIC: (),
    Auth.SIGNATURE: (Unauthenticated,),
    Auth.KEY: (Unauthenticated, MissingScope),
    Auth.ROOT_KEY: (Unauthenticated, Forbidden),
    Auth.VISITOR: (Unauthenticated,),
}
_OF_DATABASE: Final = (DatabaseUnavailable, StatementAborted)
_OF_BODY: Final = (TooLarge, TooSlow)

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
#: Names no secret and needs no promise.
_UNTOLD: Final = "Server"
_OF_EVERY: Final = (
    "X-Request-ID",
    *(name for name in SECURITY_HEADERS if name != _UNTOLD),
    "Strict-Transport-Security",
)
_OF_LIMIT: Final = ("RateLimit", "RateLimit-Policy")


def _sent(description: str, value: str, **schema: Any) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": _TEXT | schema, "example": value}


HEADERS: Final[Mapping[str, dict[str, Any]]] = {
    "X-Request-ID": _sent("The caller's, or one made here; logs hold it.", ID.replace("-", "")),
    **{
        name: _sent("The same on every answer.", value, const=value)
        for name, value in SECURITY_HEADERS.items()
        if name != _UNTOLD
    },
    "Strict-Transport-Security": _sent("On answers that go out by https.", HSTS) | {"required": False},
    "RateLimit": _sent('What is left: `"class";r=<requests>;t=<seconds>`.', '"default";r=99;t=42'),
    "RateLimit-Policy": _sent('The limit: `"class";q=<requests>;w=<seconds>`.', '"default";q=100;w=60'),
    "Retry-After": _sent("Seconds until the same request may work.", "2", pattern=r"^\d+$"),
    "WWW-Authenticate": _sent("How to show who one is.", "Bearer"),
}


def operation_id(method: str, path: str) -> str:
    """The name of an operation."""
    return re.sub(r"\W+", "_", f"{method.lower()}{path}").strip("_")


def path_of(row: Route) -> str:
    """The path without the patterns of its parameters."""
    return PATH_PARAMETER.sub(r"{\1}", row.path)


def problems_of(row: Route) -> tuple[type[CclError], ...]:
    """What a route may answer besides success, by code: what its policy and its input imply, and its own."""
    found: list[type[CclError]] = [*_OF_ANY, *row.errors, *_OF_POLICY[row.auth]]
    probe = row.priority is Priority.PROBE
    if not probe:
        found.append(Overloaded)
    if not probe or row.auth in {Auth.KEY, Auth.ROOT_KEY}:
        found += _OF_DATABASE  # of a probe with a key the key may have to be looked up
    if row.limit is not LimitClass.NONE:
        found.append(RateLimited)
    reads_body = row.body is not None or row.consumes != JSON
    if reads_body:
        found += _OF_BODY
    # a signed body is judged whole by its handler, which refuses it in words of its own
    if reads_body and row.auth is not Auth.SIGNATURE:
        found.append(UnsupportedType)
    if (row.body is not None and row.auth is not Auth.SIGNATURE) or row.query is not None or row.headers:
        found.append(ValidationFailed)
    if PATH_PARAMETER.search(row.path):
        found.append(NotFound)
    return catalogue(found)


def problem_examples(table: Iterable[Route]) -> dict[str, Any]:
    """An example of every problem that some route may answer, by code."""
    kinds = catalogue(kind for row in table for kind in problems_of(row))
    return {kind.code: {"summary": kind.title, "value": _example(kind)} for kind in kinds}


def _example(kind: type[CclError]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": f"{TYPE_BASE}{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": "" if kind.status == HTTPStatus.INTERNAL_SERVER_ERROR else kind.title,
        "instance": "/api/leads",
        "code": kind.code,
        "request_id": HEADERS["X-Request-ID"]["example"],
        "retryable": kind.retryable,
    }
    if issubclass(kind, ValidationFailed):
        shown["errors"] = [{"in": "body", "pointer": "#/email", "code": "email", "message": "is not an e-mail address"}]
    return shown


@dataclass(frozen=True, slots=True)
class _Part:
    """One of the answers that share a status. ``headers`` by name, ``examples`` of a body by name."""

    description: str
    headers: Mapping[str, Mapping[str, Any]]
    media: str | None = None
    schema: Mapping[str, Any] = field(default_factory=dict)
    examples: Mapping[str, Any] = field(default_factory=dict)
    links: Mapping[str, Any] = field(default_factory=dict)


def answers(row: Route, method: str, schemas: Schemas, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Every answer by its status, success first. HEAD has no bodies. What is a problem only stands in ``responses``."""
    bodies = method != "HEAD"
    parts: dict[int, list[_Part]] = {}
    for answer in row.answers:
        parts.setdefault(answer.status, []).append(_success(row, answer, schemas, definitions))
    found: dict[str, Any] = {}
    problems = _by_status(row)
    for status, same in parts.items():
        more = [_problem(problems[status])] if status in problems else []
        found[str(status)] = _together([*same, *more], bodies=bodies)
    for status in sorted(problems.keys() - parts.keys()):
        found[str(status)] = {"$ref": f"#/components/responses/{_name(problems[status], method)}"}
    return found


def responses(table: Iterable[Route]) -> dict[str, Any]:
    """The problems of a status that routes share, by the name under which ``answers`` refers to them."""
    return {
        _name(kinds, method): _together([_problem(kinds)], bodies=method != "HEAD")
        for row in table
        for method in row.methods
        for kinds in _by_status(row).values()
    }


def _by_status(row: Route) -> Mapping[int, Sequence[type[CclError]]]:
    kinds: dict[int, list[type[CclError]]] = {}
    for kind in problems_of(row):
        kinds.setdefault(kind.status, []).append(kind)
    return kinds


def _name(kinds: Iterable[type[CclError]], method: str) -> str:
    return "-".join([*(kind.code for kind in kinds), *(["HEAD"] if method == "HEAD" else [])])


def _together(parts: Sequence[_Part], *, bodies: bool) -> dict[str, Any]:
    """One response object. A header that not all of them have is not promised."""
    names = dict.fromkeys(name for part in parts for name in part.headers)
    told: dict[str, Any] = {
        "description": "; ".join(dict.fromkeys(part.description for part in parts)),
        "headers": {name: _header(name, parts) for name in names},
    }
    media = dict.fromkeys(part.media for part in parts if part.media)
    if media and bodies:
        told["content"] = {one: _content([part for part in parts if part.media == one]) for one in media}
    if links := {name: link for part in parts for name, link in part.links.items()}:
        told["links"] = links
    return told


def _header(name: str, parts: Sequence[_Part]) -> Mapping[str, Any]:
    found = [part.headers[name] for part in parts if name in part.headers]
    promised = len(found) == len(parts) and all(header["required"] for header in found)
    if name in HEADERS and HEADERS[name]["required"] == promised:
        return {"$ref": f"#/components/headers/{name}"}
    return {**found[0], "required": promised}


def _content(parts: Sequence[_Part]) -> dict[str, Any]:
    examples = {name: shown for part in parts for name, shown in part.examples.items()}
    schema = parts[0].schema if len(parts) == 1 else {"anyOf": [part.schema for part in parts]}
    return {"schema": schema, **({"examples": examples} if examples else {})}


def _success(row: Route, answer: Answer, schemas: Schemas, definitions: Mapping[str, Any]) -> _Part:
    limit = () if row.limit is LimitClass.NONE else _OF_LIMIT
    headers = {name: HEADERS[name] for name in (*_OF_EVERY, *limit)}
    description = HTTPStatus(answer.status).phrase
    if answer.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return _Part(description, headers)
    if answer.status < HTTPStatus.BAD_REQUEST:
        headers |= {one.name: _sent(one.meaning, one.example) for one in row.sends}
    links = {} if answer.status >= HTTPStatus.BAD_REQUEST else {_link_id(one): _link(one) for one in row.links}
    if answer.status == HTTPStatus.NO_CONTENT:
        return _Part(description, headers, links=links)
    schema = _TEXT if answer.model is None else schemas[answer.model, mode(answer)]
    examples = {}
    if answer.example:
        examples["text"] = {"value": answer.example}
    elif answer.model is not None:
        examples[answer.model.__name__] = {"value": example(schema, definitions)}
    return _Part(description, headers, answer.produces, schema, examples, links)


def mode(answer: Answer) -> str:
    """How the schema of an answer's model is written: events are described as they are read, each for itself."""
    return "validation" if answer.produces == EVENT_STREAM else "serialization"


def _link_id(link: Link) -> str:
    return operation_id(link.method, link.path)


def _link(link: Link) -> Mapping[str, Any]:
    return {"operationId": _link_id(link), "parameters": dict(link.parameters)}


def _problem(kinds: Sequence[type[CclError]]) -> _Part:
    """The problems of one status. They are told apart by their codes, and no other code comes with it."""
    headers = {name: HEADERS[name] for name in _OF_EVERY}
    if all(issubclass(kind, TryLater) for kind in kinds):
        headers["Retry-After"] = HEADERS["Retry-After"]
    if Unauthenticated in kinds:
        headers["WWW-Authenticate"] = HEADERS["WWW-Authenticate"]
    if RateLimited in kinds:  # which too many connections do not count for
        headers |= {name: HEADERS[name] | {"required": False} for name in _OF_LIMIT}
    codes = [kind.code for kind in kinds]
    schema = {
        "allOf": [{"$ref": REF.format(model="Problem")}],
        "properties": {"code": {"enum": codes}, "status": {"const": kinds[0].status}},
    }
    examples = {code: {"$ref": f"#/components/examples/{code}"} for code in codes}
    return _Part("; ".join(f"`{kind.code}` {kind.title}" for kind in kinds), headers, CONTENT_TYPE, schema, examples)
