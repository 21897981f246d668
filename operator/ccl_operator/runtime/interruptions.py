"""Which objects' passes keep ending before their end, and for how long: a moment's trouble is nobody's business."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ccl_operator.actions import Key

#: Told after so many in a row, or so many seconds, whichever is earlier.
MANY: Final = 5
LONG: Final = 60.0


@dataclass(frozen=True)
class _Series:
    since: float
    count: int


class Interruptions:
    """``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: dict[Key, _Series] = {}

    def note(self, key: Key) -> bool:
        """Another one. Whether there have been enough to tell."""
        before = self._known.get(key) or _Series(self._clock(), 0)
        self._known[key] = _Series(before.since, before.count + 1)
        return self._lasts(self._known[key])

    def over(self, key: Key) -> None:
        """A pass came to its end."""
        self._known.pop(key, None)

    def lasting(self) -> int:
        """How many objects there is something to tell about."""
        return sum(map(self._lasts, self._known.values()))

    def _lasts(self, one: _Series) -> bool:
        return one.count >= MANY or self._clock() - one.since >= LONG
