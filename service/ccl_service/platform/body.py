"""Bodies and queries in, JSON out. What is wrong with the input becomes one ValidationFailed that names each field."""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ccl_service.platform.problems import FieldError, Malformed, TooLarge, UnsupportedType, ValidationFailed

M = TypeVar("M", bound=BaseModel)
MAX_DEPTH: Final = 32
_ALLOWED_CONTROLS: Final = frozenset("\n\r\t")


async def read_body(request: web.Request) -> bytes:
    """The whole body. Raises TooLarge beyond the body limit."""
    try:
        return await request.read()
    except web.HTTPRequestEntityTooLarge as exc:
        raise TooLarge from exc


async def parse_json(request: web.Request, model: type[M]) -> M:
    """The body as ``model``: UTF-8 JSON, no duplicate keys, text in NFC without control characters.

    Raises UnsupportedType, TooLarge, Malformed, ValidationFailed.
    """
    if request.content_type != "application/json":
        raise UnsupportedType("send application/json")
    return validate(decode_json(await read_body(request)), model)


def parse_query(request: web.Request, model: type[M]) -> M:
    """The query string as ``model``; a parameter given twice is refused. Raises ValidationFailed."""
    repeated = sorted({name for name in request.query if len(request.query.getall(name)) > 1})
    if repeated:
        raise ValidationFailed([FieldError(name, "repeated", "given more than once") for name in repeated])
    return validate({name: _clean(value, name) for name, value in request.query.items()}, model)


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
    return _walk(value, "", 0)


def validate(value: Any, model: type[M]) -> M:
    """``value`` as ``model``. Raises ValidationFailed without repeating what was sent."""
    try:
        return model.model_validate(value)
    except ValidationError as exc:
        raise ValidationFailed(field_errors(exc)) from None


def field_errors(exc: ValidationError) -> Sequence[FieldError]:
    """Pydantic's errors without the input."""
    return [
        FieldError(
            ".".join(str(part) for part in error["loc"]), error["type"], error["msg"].removeprefix("Value error, ")
        )
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


def _walk(value: Any, path: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return _clean(value, path)
    if isinstance(value, dict):
        return {_clean(k, path): _walk(v, f"{path}.{k}".lstrip("."), depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return [_walk(v, f"{path}.{n}".lstrip("."), depth + 1) for n, v in enumerate(value)]
    return value


def _clean(text: str, path: str) -> str:
    """NFC. Refuses control characters and lone surrogates, which PostgreSQL cannot store or a log would repeat."""
    if text.isascii() and text.isprintable():
        return text
    for char in text:
        if unicodedata.category(char) in {"Cc", "Cs"} and char not in _ALLOWED_CONTROLS:
            raise ValidationFailed([FieldError(path, "control_character", "holds a control character")])
    return unicodedata.normalize("NFC", text)
