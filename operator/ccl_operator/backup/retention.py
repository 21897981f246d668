"""Which backup sets stay and which go: arithmetic over what a destination holds. Pure; removal is ``prune``'s."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

#: A set without a manifest that nobody wrote to for this long is what a killed backup left behind.
UNFINISHED_AFTER: Final = timedelta(hours=48)


class SetState(StrEnum):
    """What a set is worth. Damaged: its manifest is there but cannot be read, or does not fit its dump."""

    PUBLISHED = "published"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class SetRecord:
    """One set: its id (sortable by time) and when anything of it was last written."""

    id: str
    state: SetState
    last_write: datetime


@dataclass(frozen=True)
class Retention:
    """The verdict, both newest first. ``kept`` holds published sets only; a set in neither is left alone."""

    kept: tuple[str, ...]
    removed: tuple[str, ...]


def stale_uploads(sets: Iterable[SetRecord], now: datetime) -> tuple[str, ...]:
    """Sets that were begun and never published, untouched for ``UNFINISHED_AFTER``; newest first."""
    return _newest_first(
        item.id for item in sets if item.state is SetState.UNFINISHED and now - item.last_write > UNFINISHED_AFTER
    )


def decide(
    sets: Iterable[SetRecord], *, keep_last: int, now: datetime, protected: frozenset[str] = frozenset()
) -> Retention:
    """Keep the newest ``keep_last`` published sets and every protected one; remove other published and stale sets.

    The newest published set stays whatever ``keep_last`` says. A damaged set neither counts nor goes: its dump may
    be all that is left, and whether it is worth anything is a person's decision.
    Raises ValueError for ``keep_last`` below 1.
    """
    if keep_last < 1:
        raise ValueError("keep_last must be at least 1")
    known = tuple(sets)
    published = _newest_first(item.id for item in known if item.state is SetState.PUBLISHED)
    # A clock that once ran ahead leaves ids newer than the set just made; ``protected`` holds that one.
    kept = tuple(name for place, name in enumerate(published) if place < keep_last or name in protected)
    removed = (set(published) | set(stale_uploads(known, now))) - set(kept) - protected
    return Retention(kept, _newest_first(removed))


def _newest_first(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(ids, reverse=True))
