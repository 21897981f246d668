"""What this process answered in the last 1, 5 and 60 minutes, by route. Pure but for the clock it is given.

Time is cut into slices of 10 s; slices older than 5 minutes are merged into whole minutes. A window is the slice that
is being filled and those that began within its length, so that it is exact to 10 s (the longest one to a minute).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccl_service.platform.telemetry.histogram import LogHistogram

#: Lengths in minutes.
WINDOWS: Final = (1, 5, 60)
SLICE_SECONDS: Final = 10
FINE_SECONDS: Final = 300
LONGEST_SECONDS: Final = 3600

#: Method and route template.
RouteKey = tuple[str, str]


@dataclass(slots=True)
class Answered:
    """The answers of one route: how long they took, how many were errors (5xx), and how many were turned away.

    The latter are errors too, but have no time: refusals at once would make an overloaded process look fast.
    """

    latency: LogHistogram = field(default_factory=LogHistogram)
    errors: int = 0
    shed: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.latency.total + self.shed

    def merge(self, other: "Answered") -> None:
        """Take the other's in."""
        self.latency.merge(other.latency)
        self.errors += other.errors
        self.shed += other.shed


Table = dict[RouteKey, Answered]


@dataclass(slots=True)
class _Slice:
    began: float
    routes: Table = field(default_factory=dict)


class Windows:
    """Rolling windows over what one process answers."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` in seconds, monotonic."""
        self._clock = clock
        self._now = _Slice(_floor(clock(), SLICE_SECONDS))
        self._past: deque[_Slice] = deque()

    def add(self, route: RouteKey, seconds: float, *, error: bool) -> None:
        """Record one answer."""
        answered = self._present(route)
        answered.latency.add(seconds)
        answered.errors += error

    def add_shed(self, route: RouteKey) -> None:
        """Record a request that was turned away."""
        answered = self._present(route)
        answered.shed += 1
        answered.errors += 1

    def _present(self, route: RouteKey) -> Answered:
        now = self._clock()
        if now - self._now.began >= SLICE_SECONDS:
            self._turn(now)
        answered = self._now.routes.get(route)
        if answered is None:
            answered = self._now.routes[route] = Answered()
        return answered

    def window(self, minutes: int) -> Table:
        """What was answered in the last ``minutes``, by route."""
        now = self._clock()
        if now - self._now.began >= SLICE_SECONDS:
            self._turn(now)
        since = now - minutes * 60
        merged: Table = {}
        for one in self._slices():
            if one.began >= since:
                merge_into(merged, one.routes)
        return merged

    def _slices(self) -> Iterator[_Slice]:
        yield from self._past
        yield self._now

    def _turn(self, now: float) -> None:
        if self._now.routes:
            self._past.append(self._now)
        self._now = _Slice(_floor(now, SLICE_SECONDS))
        kept: deque[_Slice] = deque()
        for one in self._past:
            if one.began < now - LONGEST_SECONDS:
                continue
            minute = _floor(one.began, 60)
            if one.began >= now - FINE_SECONDS:
                kept.append(one)
            elif kept and kept[-1].began == minute:
                merge_into(kept[-1].routes, one.routes)
            else:
                kept.append(_Slice(minute, one.routes))
        self._past = kept


def merge_into(target: Table, other: Mapping[RouteKey, Answered]) -> None:
    """Add a table to another, which it leaves alone."""
    for route, answered in other.items():
        target.setdefault(route, Answered()).merge(answered)


def whole(table: Mapping[RouteKey, Answered]) -> Answered:
    """All routes together."""
    merged = Answered()
    for answered in table.values():
        merged.merge(answered)
    return merged


def as_document(table: Mapping[RouteKey, Answered]) -> list[list[Any]]:
    """``[[method, route, errors, [[bucket, count], …], shed], …]``, for JSON."""
    return [
        [method, route, one.errors, one.latency.as_pairs(), one.shed] for (method, route), one in sorted(table.items())
    ]


def from_document(rows: Iterable[Iterable[Any]]) -> Table:
    """The inverse of ``as_document``."""
    return {
        (method, route): Answered(LogHistogram.from_pairs(pairs), errors, shed)
        for method, route, errors, pairs, shed in rows
    }


def _floor(at: float, width: float) -> float:
    return at // width * width
