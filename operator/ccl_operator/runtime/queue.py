"""Which CclDeployment is looked at next: one worker per key at a time, repeated wishes merged, one heap of times.

What a pass does is ``reconcile``'s business; what its outcome means for the next one is decided by ``workers``.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable

from ccl_operator.actions import Key


class WorkQueue:
    """Used from one event loop. ``clock`` is monotonic, in seconds; all times here are its."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._urgent: OrderedDict[Key, None] = OrderedDict()
        self._waiting: OrderedDict[Key, None] = OrderedDict()
        self._working: set[Key] = set()
        self._again: dict[Key, bool] = {}
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._pushed = 0
        self._closed = False
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._urgent) + len(self._waiting)

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Look at the key as soon as a worker is free; after the present pass when one is under way.

        ``urgent`` goes first: somebody changed the spec and watches.
        """
        if key in self._working:
            self._again[key] = urgent or self._again.get(key, False)
            return
        if urgent:
            self._waiting.pop(key, None)
            self._urgent[key] = None
        elif key not in self._urgent:
            self._waiting[key] = None
        self._changed.set()

    def schedule(self, key: Key, at: float | None) -> None:
        """Look at the key at that time, and no more at the time said before; None: at no time."""
        if at is None:
            self._due.pop(key, None)
            return
        self._due[key] = at
        self._pushed += 1
        heapq.heappush(self._heap, (at, self._pushed, key))
        self._changed.set()

    def close(self) -> None:
        """Give out no more keys."""
        self._closed = True
        self._changed.set()

    async def get(self) -> Key | None:
        """The next key, which then belongs to the caller until ``done``; None once closed."""
        while not self._closed:
            self._move_due()
            for lane in (self._urgent, self._waiting):
                if lane:
                    key, _ = lane.popitem(last=False)
                    self._working.add(key)
                    return key
            await self._wait()
        return None

    def done(self, key: Key) -> None:
        """The pass is over."""
        self._working.discard(key)
        urgent = self._again.pop(key, None)
        if urgent is not None:
            self.add(key, urgent=urgent)

    def _move_due(self) -> None:
        while self._heap and self._heap[0][0] <= self._clock():
            at, _, key = heapq.heappop(self._heap)
            # An entry that `schedule` has replaced stays in the heap until its time, and is then not meant any more.
            if self._due.get(key) == at:
                del self._due[key]
                self.add(key)

    async def _wait(self) -> None:
        self._changed.clear()
        timeout = self._heap[0][0] - self._clock() if self._heap else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
