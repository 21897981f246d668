"""JSON from outside: RFC 8259 and nothing beyond it, every text cleaned, at a bounded price. Pure.

While a text is read the process does nothing else. How long it may be, and how deeply nested, is its route's business;
that its price does not depend on what it is made of is this module's.
"""

import json
import math
import re
from typing import Any, Final

from pydantic_core import PydanticCustomError

from ccl_service.platform.fields import clean
from ccl_service.platform.problems import FieldError, Malformed, ValidationFailed

#: How deeply a text may be nested of which nobody says what it holds.
MAX_DEPTH: Final = 32
#: Values of one document: an empty object or array counts as one, any other as those that it holds.
MOST_VALUES: Final = 10_000
#: A text. It also matches one without an end, so that no place is tried twice.
_TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?', re.DOTALL)

Path = tuple[str | int, ...]


def decode_json(raw: bytes, *, depth: int = MAX_DEPTH) -> Any:
    """The value, with text in NFC; ``depth``: how many objects and arrays may stand in each other.

    Raises Malformed or ValidationFailed.
    """
    # counted before they are made: a process with millions of objects is slow to look for garbage among more of them
    if _marks(raw) > MOST_VALUES and _marks(_TEXT.sub(b"", raw)) > MOST_VALUES:
        raise Malformed(f"holds more than {MOST_VALUES} values")
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError as exc:
        raise Malformed("the body is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise Malformed(f"not JSON at line {exc.lineno}, column {exc.colno}") from exc
    except (RecursionError, ValueError) as exc:
        # ValueError: a number with more digits than Python converts
        raise Malformed("the body is not JSON that can be taken") from exc
    return _walk(value, (), depth)


def clean_text(text: str, path: Path, where: str = "body") -> str:
    """``text`` cleaned. Raises ValidationFailed that names its place."""
    try:
        return clean(text)
    except PydanticCustomError as exc:
        raise ValidationFailed([FieldError(path, exc.type, exc.message(), where)]) from None


def _marks(raw: bytes) -> int:
    """What stands before each value but the first of all, and before the end of what is empty."""
    return raw.count(b"[") + raw.count(b"{") + raw.count(b",")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("an object holds the same key twice")
    return found


def _no_constant(name: str) -> Any:
    raise Malformed(f"{name} is not JSON")


def _walk(value: Any, path: Path, depth: int) -> Any:
    if len(path) >= depth and isinstance(value, dict | list):
        raise Malformed(f"nested deeper than {depth}")
    if isinstance(value, str):
        return clean_text(value, path)
    if isinstance(value, dict):
        # once more, for keys that differ in how their letters are composed and in nothing else
        return _unique([(clean_text(k, path), _walk(v, (*path, k), depth)) for k, v in value.items()])
    if isinstance(value, list):
        return [_walk(v, (*path, n), depth) for n, v in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed("a number is too large")
    return value
