"""Bodies and queries in, JSON out. What is wrong with the input becomes one ValidationFailed that names each field."""

import asyncio
import contextlib
import json
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import StreamReader, web
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError

from ccl_service.platform.fields import clean
from ccl_service.platform.problems import (
    FieldError,
    Malformed,
    NotFound,
    TooLarge,
    TooSlow,
    UnsupportedType,
    ValidationFailed,
)
from ccl_service.platform.route import ROUTE

M = TypeVar("M", bound=BaseModel)
MAX_DEPTH: Final = 32
#: How long a body that is read as a whole may be on its way.
BODY_SECONDS: Final = 20.0
#: The slowest upload: about a kilobyte a second.
PIECE_SECONDS: Final = 15.0
PIECE_BYTES: Final = 16_384
QUERY: Final = "query"
_BODY: Final = web.RequestKey("body", bytes)


async def read_body(request: web.Request) -> bytes:
    """The whole body, within the route's limit and ``BODY_SECONDS``. Raises TooLarge, TooSlow."""
    if _BODY in request:
        return request[_BODY]
    most = _most(request)
    if request.content_length is not None and request.content_length > most:
        raise TooLarge(f"this route takes at most {most} bytes")
    body = bytearray()
    async with _arriving(BODY_SECONDS, "the whole body has"):
        # counted after decompression, so that a small body cannot grow in memory without end
        async for piece in request.content.iter_any():
            body += piece
            if len(body) > most:
                raise TooLarge(f"this route takes at most {most} bytes")
    request[_BODY] = bytes(body)
    return request[_BODY]


async def read_pieces(request: web.Request) -> AsyncIterator[bytes]:
    """A large body piece by piece, for routes that store it as it comes.

    A sender may take as long as it needs on the whole while every ``PIECE_SECONDS`` bring ``PIECE_BYTES`` or the end.
    Raises TooLarge, TooSlow.
    """
    most, total, stream = _most(request), 0, request.content
    if request.content_length is not None and request.content_length > most:
        raise TooLarge(f"this route takes at most {most} bytes")
    while True:
        piece = await _piece(stream)
        if not piece:
            return
        total += len(piece)
        if total > most:
            raise TooLarge(f"this route takes at most {most} bytes")
        yield piece


async def _piece(stream: StreamReader) -> bytes:
    """At least ``PIECE_BYTES``, less only at the end."""
    piece = bytearray()
    async with _arriving(PIECE_SECONDS, f"the next {PIECE_BYTES} bytes have"):
        while len(piece) < PIECE_BYTES and not stream.at_eof():
            piece += await stream.readany()
    return bytes(piece)


@contextlib.asynccontextmanager
async def _arriving(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as exc:
        raise TooSlow(f"{what} to arrive within {seconds:g} seconds") from exc
    except web.RequestPayloadError as exc:
        raise Malformed("the body ended early, or is not encoded as announced") from exc


def _most(request: web.Request) -> int:
    route = request.get(ROUTE)
    own = route.body_limit if route is not None else None
    return request.client_max_size if own is None else own


async def parse_json(request: web.Request, model: type[M]) -> M:
    """The body as ``model``: UTF-8 JSON, no duplicate keys, text in NFC without control characters.

    Raises UnsupportedType, TooLarge, TooSlow, Malformed, ValidationFailed.
    """
    if request.content_type != "application/json":
        raise UnsupportedType("send application/json")
    return validate(decode_json(await read_body(request)), model)


def parse_query(request: web.Request, model: type[M]) -> M:
    """The query string as ``model``; a parameter given twice is refused. Raises ValidationFailed."""
    query = request.query
    if len(query) != len(set(query)):
        repeated = sorted({name for name in query if len(query.getall(name)) > 1})
        raise ValidationFailed([FieldError((name,), "repeated", "given more than once", QUERY) for name in repeated])
    return validate({name: _clean(value, (name,), QUERY) for name, value in query.items()}, model, where=QUERY)


def path_uuid(request: web.Request, name: str = "id") -> UUID:
    """An id of the path. Raises NotFound for what cannot be one, as for one that is not there."""
    try:
        return UUID(request.match_info[name])
    except ValueError as exc:
        raise NotFound("no such id") from exc


def decode_json(raw: bytes) -> Any:
    """JSON by RFC 8259 and nothing beyond it, cleaned. Raises Malformed or ValidationFailed."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise Malformed("the body is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise Malformed(f"not JSON at line {exc.lineno}, column {exc.colno}") from exc
    except (RecursionError, ValueError) as exc:
        # ValueError: a number with more digits than Python converts
        raise Malformed("the body is not JSON that can be taken") from exc
    return _walk(value, ())


def validate(value: Any, model: type[M], *, where: str = "body") -> M:
    """``value`` as ``model``. Raises ValidationFailed without repeating what was sent."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise ValidationFailed(field_errors(exc, where=where)) from None


def field_errors(exc: ValidationError, *, where: str = "body") -> Sequence[FieldError]:
    """Pydantic's errors without the input."""
    return [
        FieldError(error["loc"], error["type"], error["msg"].removeprefix("Value error, "), where)
        for error in exc.errors(include_input=False, include_url=False, include_context=False)
    ]


def json_reply(
    content: BaseModel | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    text = content.model_dump_json(by_alias=True) if isinstance(content, BaseModel) else dump_json(content)
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


def dump_json(content: Mapping[str, Any]) -> str:
    """Compact JSON; what JSON does not know (uuid, datetime, enum) becomes its text."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    isoformat = getattr(value, "isoformat", None)
    return isoformat() if isoformat else str(value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("an object holds the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")


def _walk(value: Any, path: tuple[str | int, ...]) -> Any:
    if len(path) >= MAX_DEPTH and isinstance(value, dict | list):
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _clean(value, path)
    if isinstance(value, dict):
        return {_clean(k, path): _walk(v, (*path, k)) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(v, (*path, n)) for n, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed("a number is too large")
    return value


def _clean(text: str, path: tuple[str | int, ...], where: str = "body") -> str:
    try:
        return clean(text)
    except PydanticCustomError as exc:
        raise ValidationFailed([FieldError(path, exc.type, exc.message(), where)]) from None
