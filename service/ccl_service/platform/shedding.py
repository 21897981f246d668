"""Turns requests away when there is more work than time: the least urgent first, at once, and ever more of them.

Two queues can grow in a process: callers that wait for a database connection, and callbacks that wait for the event
loop. Both are short when the process keeps up, however many callers there are; how full the fuller one is, is the
pressure. A class of requests is let in whole below its band, not at all above it, and in between in proportion, so
that the pressure settles where work comes in as fast as it goes out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Final

from ccl_service.platform.route import Priority

#: Callers that may wait for each connection of the pool. A connection is lent for some milliseconds, so that the last
#: of them waits for some tenths of a second.
WAITING_PER_CONNECTION: Final = 64
#: The event loop's delay, in seconds, that counts as a full queue.
FULL_LAG_SECONDS: Final = 0.15
#: How often the delay is measured, and over how many measurements. The median: a pause of the machine or of the
#: garbage collector is one late measurement, a queue makes them all late.
LAG_EVERY_SECONDS: Final = 0.02
LAG_SAMPLES: Final = 9


@dataclass(frozen=True, slots=True)
class Band:
    """Between these pressures a class goes from let in whole to turned away whole."""

    eases: float
    shuts: float

    def share(self, pressure: float) -> float:
        """How much of the class is let in: 1 at or below ``eases``, 0 at or above ``shuts``."""
        return min(1.0, max(0.0, (self.shuts - pressure) / (self.shuts - self.eases)))


#: Least urgent first. Probes have no band: they are never turned away.
BANDS: Final[Mapping[Priority, Band]] = MappingProxyType(
    {
        Priority.EXPORT: Band(0.20, 0.40),
        Priority.READ: Band(0.40, 0.60),
        Priority.WEBHOOK: Band(0.55, 0.80),
        Priority.CHAT: Band(0.70, 0.90),
        Priority.INTAKE: Band(0.80, 1.10),
    }
)


def pressure(*, waiting: int, connections: int, lag: float) -> float:
    """How full the fuller queue is; 1 is full. ``lag`` in seconds."""
    return max(waiting / (WAITING_PER_CONNECTION * connections), lag / FULL_LAG_SECONDS)


class Shedder:
    """Judges requests as they come."""

    def __init__(self, *, waiting: Callable[[], int], connections: int) -> None:
        """``waiting`` tells how many callers wait for one of ``connections``."""
        self._waiting, self._connections = waiting, connections
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self._lag = 0.0
        #: What a class has saved up towards its next request: a fraction is spread evenly, without chance.
        self._saved = dict.fromkeys(BANDS, 0.0)

    @property
    def pressure(self) -> float:
        """The present pressure."""
        return pressure(waiting=self._waiting(), connections=self._connections, lag=self._lag)

    def admits(self, priority: Priority) -> bool:
        """Whether a request of this class is let in now."""
        band = BANDS.get(priority)
        if band is None:
            return True
        share = band.share(self.pressure)
        if share >= 1.0:
            return True
        saved = self._saved[priority] + share
        self._saved[priority] = saved - 1.0 if saved >= 1.0 else saved
        return saved >= 1.0

    def measured(self, lag: float) -> None:
        """Take a measurement of the event loop's delay, in seconds."""
        self._lags.append(max(0.0, lag))
        self._lag = median(self._lags)

    async def run(self, stop: asyncio.Event) -> None:
        """Measure the event loop's delay until ``stop``."""
        loop = asyncio.get_running_loop()

        def tick(due: float) -> None:
            now = loop.time()
            self.measured(now - due)
            if not stop.is_set():
                loop.call_at(now + LAG_EVERY_SECONDS, tick, now + LAG_EVERY_SECONDS)

        tick(loop.time())
        await stop.wait()
