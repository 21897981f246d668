"""What a log line, a trace or an error report may say. Deny by default: text passes only under names listed here.

Numbers, booleans and ids pass under any name. Listed text is still scrubbed of e-mail addresses, phone numbers, card
and social security numbers, and keys, because a sentence of a library may hold what it was given.
"""

import re
from collections.abc import Iterable, MutableMapping
from datetime import date, datetime, timedelta
from types import FrameType, TracebackType
from typing import Any, Final
from uuid import UUID

MASK: Final = "***"
MOST_CHARACTERS: Final = 1000
MOST_FRAMES: Final = 40

#: Names under which text may appear: codes, names of the program, opaque ids. Never what a person typed.
TEXT_FIELDS: Final = frozenset(
    """action actor agent batch check code component environment error event head id kind level logger method outcome
    phase pod principal principal_id problem provider queue reason replica request_id revision role route send_id
    setting source span_id state status step table task timestamp tool trace_id turn_id variable version worker
    """.split()  # noqa: SIM905 - one word a line would hide the list
)

_RULES: Final = (
    # keys first: what follows would cut them into pieces
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 " + MASK),
    (re.compile(r"\b(?:sk-|pk-|pubkey-|ccl_)[A-Za-z0-9_-]{12,}|\bkey-[0-9a-f]{12,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?"), MASK),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]*:[^\s/@]*@"), r"\1" + MASK + "@"),
    (re.compile(r"(?i)\b(password|passwd|secret|token|api[_-]?key)(\s*[=:]\s*)[^\s,;&'\"]+"), r"\1\2" + MASK),
    (re.compile(r"[^\s@<>\"'(),;:=]+@[^\s@<>\"'(),;:=]+\.[^\s@<>\"'(),;:=]+"), MASK),
    (re.compile(r"\b[0-9a-fA-F]{40,}\b|\b[A-Za-z0-9_-]{43,}\b"), MASK),
    # seven digits and more in a row, with the separators that people put between them; dates and times do not match
    (re.compile(r"(?<![\w.:-])\+?\(?\d(?:[\s().-]{0,2}\d){6,18}(?![\w:-])"), MASK),
)


def scrub(text: str) -> str:
    """The text without what identifies a person or opens a door, cut to ``MOST_CHARACTERS``."""
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def value(name: str, given: object) -> object:
    """What of ``given`` may be shown under ``name``."""
    match given:
        case None | bool() | int() | float() | UUID() | datetime() | date():
            return given if given is None or isinstance(given, bool | int | float) else str(given)
        case timedelta():
            return given.total_seconds()
        case str():
            return scrub(given) if name in TEXT_FIELDS else MASK
        case list() | tuple() | set() | frozenset():
            return [value(name, inner) for inner in given]
        case _:
            return MASK


def fields(event: MutableMapping[str, Any]) -> dict[str, Any]:
    """A log line with every field judged."""
    return {name: value(name, given) for name, given in event.items()}


def describe(exc: BaseException) -> list[dict[str, Any]]:
    """An exception and its causes, outermost first: type, message where it is ours, and where it was raised.

    Messages of libraries repeat the values they were given (a driver names the argument it could not encode), so that
    only the text of our own classes is shown. No local variable and no source line is.
    """
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    current: BaseException | None = exc
    while current is not None and id(current) not in seen and len(found) < 8:
        seen.add(id(current))
        kind = type(current)
        entry: dict[str, Any] = {
            "type": f"{kind.__module__}.{kind.__qualname__}",
            "frames": frames(current.__traceback__),
        }
        if said := message(current):
            entry["message"] = said
        found.append(entry)
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return found


def message(exc: BaseException) -> str:
    """The scrubbed text of an exception of ours, the errno text of an OSError; empty for all others."""
    if type(exc).__module__.partition(".")[0] in {"ccl_service", "ccl_contract"}:
        return scrub(str(exc))
    if isinstance(exc, OSError) and exc.strerror:
        return scrub(exc.strerror)
    return ""


def frames(traceback: TracebackType | None) -> list[str]:
    """``module:line function``, outermost first; the middle is left out when there are too many."""
    where: list[str] = []
    while traceback is not None:
        where.append(_place(traceback.tb_frame, traceback.tb_lineno))
        traceback = traceback.tb_next
    if len(where) <= MOST_FRAMES:
        return where
    half = MOST_FRAMES // 2
    return [*where[:half], "…", *where[-half:]]


def _place(frame: FrameType, line: int) -> str:
    return f"{frame.f_globals.get('__name__', '?')}:{line} {frame.f_code.co_name}"


def unlisted(names: Iterable[str]) -> set[str]:
    """The names under which text would be masked."""
    return set(names) - TEXT_FIELDS
