"""Bodies and queries in, JSON out. What is wrong with the input becomes one ValidationFailed that names each field."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import StreamReader, web
from pydantic import BaseModel, ValidationError

from ccl_service.platform.json_input import MAX_DEPTH, clean_text, decode_json
from ccl_service.platform.problems import (
    FieldError,
    Malformed,
    NotFound,
    TooLarge,
    TooSlow,
    UnsupportedType,
    ValidationFailed,
)
from ccl_service.platform.route import ROUTE, largest_body

M = TypeVar("M", bound=BaseModel)
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
    return request.client_max_size if route is None else largest_body(route, request.client_max_size)


async def parse_json(request: web.Request, model: type[M]) -> M:
    """The body as ``model``: UTF-8 JSON, no duplicate keys, text in NFC without control characters.

    Raises UnsupportedType, TooLarge, TooSlow, Malformed, ValidationFailed.
    """
    if request.content_type != "application/json":
        raise UnsupportedType("send application/json")
    route = request.get(ROUTE)
    depth = MAX_DEPTH if route is None else route.body_depth
    return validate(decode_json(await read_body(request), depth=depth), model)


def parse_query(request: web.Request, model: type[M]) -> M:
    """The query string as ``model``; a parameter given twice is refused. Raises ValidationFailed."""
    query = request.query
    if len(query) != len(set(query)):
        repeated = sorted({name for name in query if len(query.getall(name)) > 1})
        raise ValidationFailed([FieldError((name,), "repeated", "given more than once", QUERY) for name in repeated])
    return validate({name: clean_text(value, (name,), QUERY) for name, value in query.items()}, model, where=QUERY)


def path_uuid(request: web.Request, name: str = "id") -> UUID:
    """An id of the path. Raises NotFound for what cannot be one, as for one that is not there."""
    try:
        return UUID(request.match_info[name])
    except ValueError as exc:
        raise NotFound("no such id") from exc


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
