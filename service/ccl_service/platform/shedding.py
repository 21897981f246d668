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

#: The wait for a connection, in seconds, that counts as a full queue. What is let in just below it is still answered
#: well within a second.
FULL_WAIT_SECONDS: Final = 0.6
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
        Priority.EXPORT: Band(0.30, 0.50),
        Priority.READ: Band(0.50, 0.70),
        Priority.WEBHOOK: Band(0.65, 0.85),
        Priority.CHAT: Band(0.75, 0.95),
        Priority.INTAKE: Band(0.85, 1.05),
    }
)


CALM: Final = min(band.eases for band in BANDS.values())


def pressure(*, wait: float, lag: float) -> float:
    """How full the fuller queue is; 1 is full. Both in seconds."""
    return max(wait / FULL_WAIT_SECONDS, lag / FULL_LAG_SECONDS)


class Shedder:
    """Judges requests as they come."""

    def __init__(self, *, wait: Callable[[], float]) -> None:
        """``wait`` tells for how many seconds a caller who came now would wait for a database connection."""
        self._wait = wait
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self._lag = 0.0
        #: What a class has saved up towards its next request: a fraction is spread evenly, without chance.
        self._saved = dict.fromkeys(BANDS, 0.0)

    @property
    def pressure(self) -> float:
        """The present pressure."""
        return pressure(wait=self._wait(), lag=self._lag)

    @property
    def calm(self) -> bool:
        """Whether everybody is let in."""
        return self.pressure <= CALM

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
