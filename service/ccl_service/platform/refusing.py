"""Refuses requests under overload before they cost anything: from their bytes, without parser, task or middleware.

To parse, route and answer a request costs a fifth of what it costs to serve it. At four times the load that one
process can take, refusals made that way would eat up most of the process. What is refused here is read so narrowly
that nobody can read it differently (RFC 9112); everything else goes the usual way, where ``platform.middleware`` asks
the same ``Shedder``.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from ccl_service.platform.phase import Phase
from ccl_service.platform.problems import Overloaded
from ccl_service.platform.route import Priority, Route
from ccl_service.platform.shedding import Shedder
from ccl_service.platform.telemetry import Metrics

#: Method and path.
Line = tuple[str, str]

MOST_BYTES: Final = 65_536
_END: Final = b"\r\n\r\n"
#: Heads with these are left to the parser: other framings, what changes the answer's form, and a connection that is
#: to be closed.
_ELSEWHERE: Final = re.compile(
    rb"\r\n(?:transfer-encoding|upgrade|expect|origin:|[ \t]|connection:(?! keep-alive\r\n))"
)
_LENGTH: Final = b"\r\ncontent-length: "
_SAID_ID: Final = re.compile(rb"\r\nx-request-id:([^\r]*)", re.IGNORECASE)


def request_line(data: bytes) -> Line | None:
    """Method and path when ``data`` is one whole request of the plainest form and nothing else; None otherwise."""
    end = data.find(_END)
    if end < 0 or len(data) > MOST_BYTES:
        return None
    head = data[: end + 2].lower()
    lines = head.count(b"\r\n")
    if head.count(b"\n") != lines or head.count(b"\r") != lines or _ELSEWHERE.search(head):
        return None
    length = _content_length(head)
    if length is None or len(data) != end + len(_END) + length:
        return None
    parts = data[: data.index(b"\r\n")].decode("latin-1").split(" ")
    if len(parts) != 3 or parts[2] != "HTTP/1.1" or not parts[1].startswith("/"):
        return None
    return parts[0], parts[1].partition("?")[0]


def said_id(data: bytes) -> str:
    """What the first X-Request-ID of a request that ``request_line`` can read says; empty without one."""
    found = _SAID_ID.search(data, 0, data.index(_END) + 2)
    return found[1].decode("latin-1").strip(" \t") if found else ""


def _content_length(head: bytes) -> int | None:
    """0 without one; None when there are several or it is no plain number."""
    named = head.count(b"content-length")
    if named == 0:
        return 0
    digits = head.partition(_LENGTH)[2].partition(b"\r\n")[0]
    return int(digits) if named == head.count(_LENGTH) == 1 and digits.isdigit() and len(digits) < 8 else None


class RouteFinder:
    """Finds the row of the table that a method and a path belong to."""

    def __init__(self, table: Iterable[Route]) -> None:
        self._fixed: dict[Line, Route] = {}
        #: By method: the paths with variables as one expression, whose last group that matched is the row's number.
        self._others: dict[str, tuple[re.Pattern[str], Sequence[Route]]] = {}
        others: dict[str, list[Route]] = {}
        for row in table:
            if "{" in row.path:
                others.setdefault(row.method, []).append(row)
            else:
                self._fixed[row.method, row.path] = row
        for method, rows in others.items():
            self._others[method] = re.compile("|".join(f"{_pattern(row.path)}()" for row in rows)), rows

    def find(self, line: Line) -> Route | None:
        """The row; None for what is no route."""
        found = self._fixed.get(line)
        if found is not None:
            return found
        method, path = line
        pattern, rows = self._others.get(method, (_NOTHING, ()))
        match = pattern.fullmatch(path)
        return rows[match.lastindex - 1] if match and match.lastindex else None


#: Matches no path.
_NOTHING: Final = re.compile(r"(?!)")


def _pattern(path: str) -> str:
    """A variable is a part of the path that is not empty, as for aiohttp's router."""
    return "/".join("[^/]+" if "{" in part else re.escape(part) for part in path.split("/"))


class Refuser:
    """Judges whole requests by their first line."""

    def __init__(self, table: Iterable[Route], shedder: Shedder, phase: Phase, metrics: Metrics) -> None:
        self._finder = RouteFinder(table)
        self._shedder, self._phase, self._metrics = shedder, phase, metrics

    def probes(self, data: bytes) -> bool:
        """Whether ``data`` begins with the head of a probe, however it goes on."""
        parts = data.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(parts) != 3:
            return False
        row = self._finder.find((parts[0], parts[1].partition("?")[0]))
        return row is not None and row.priority is Priority.PROBE

    def judge(self, line: Line) -> bool | None:
        """False: refuse it. True: it was let in. None: there is nothing to judge, or not here."""
        if self._shedder.calm or self._phase.moving:
            return None
        row = self._finder.find(line)
        if row is None:
            return None
        if self._shedder.admits(row.priority):
            return True
        self._metrics.shed(row.method, row.path, Overloaded.status, row.priority)
        return False
