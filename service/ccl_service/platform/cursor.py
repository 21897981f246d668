"""Cursors of keyset-paged lists: the sort key of the last row, packed. Opaque to callers, and not trusted."""

from datetime import datetime
from typing import Final

from pydantic_core import PydanticCustomError

from ccl_service.platform.body import QUERY
from ccl_service.platform.fields import clean, plausible
from ccl_service.platform.keys import b64decode, b64encode
from ccl_service.platform.problems import FieldError, ValidationFailed

_SEPARATOR: Final = "|"


def pack(*parts: object) -> str:
    """The cursor of a row; moments in ISO 8601. No part holds a vertical bar."""
    texts = (part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)
    return b64encode(_SEPARATOR.join(texts).encode())


def unpack(cursor: str, parts: int) -> list[str]:
    """What ``pack`` was given. Raises ValidationFailed."""
    try:
        found = clean(b64decode(cursor).decode()).split(_SEPARATOR)
    except (ValueError, PydanticCustomError) as exc:
        raise bad_cursor() from exc
    if len(found) != parts:
        raise bad_cursor()
    return found


def moment(part: str) -> datetime:
    """A part that was a moment. Raises ValidationFailed, also for one without a time zone."""
    try:
        found = plausible(datetime.fromisoformat(part))
    except (ValueError, PydanticCustomError) as exc:
        raise bad_cursor() from exc
    if found.tzinfo is None:
        raise bad_cursor()
    return found


def bad_cursor() -> ValidationFailed:
    """Somebody made a cursor up, or took it from another list."""
    return ValidationFailed([FieldError(("after",), "cursor", "is not a cursor of this list", QUERY)])
