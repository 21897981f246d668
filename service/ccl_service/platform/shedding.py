"""Turns requests away when there is more work than time: the least urgent first, at once, and ever more of them.

Two queues can grow in a process: requests that wait for their turn at the database, and callbacks that wait for the
event loop. The first is measured in time: requests at work beyond those that have a connection, times how far apart
answers are while everybody is busy (Little's law). How full the fuller queue is, is the pressure. A class of requests
is let in whole below its band, not at all above it, and in between in proportion, so that the pressure settles where
work comes in as fast as it goes out.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Final

from ccl_service.platform.route import Priority

#: The wait, in seconds, that counts as a full queue. It is a mean: a request with several statements waits as many
#: times, and is still to be answered within a second.
FULL_WAIT_SECONDS: Final = 0.3
#: How far apart answers are thought to be before that was ever seen, in seconds; and how much each new one counts.
FIRST_GAP_SECONDS: Final = 0.001
GAP_WEIGHT: Final = 0.02
#: A gap that is longer says that the process was held up, not how fast it is.
MOST_GAP_SECONDS: Final = 0.05
#: The event loop's delay, in seconds, that counts as a full queue. Whoever is turned away waits for it too, and is to
#: know within 50 ms.
FULL_LAG_SECONDS: Final = 0.05
#: The same while fewer are at work than may be at a time: then it is the machine that is busy, with something else.
#: To turn the few away who come would free nothing; a late answer is better than none.
FOREIGN_LAG_SECONDS: Final = 1.0
#: How often the delay is measured, and over how many measurements. The median: a pause of the machine or of the
#: garbage collector is one late measurement, a queue makes them all late.
LAG_EVERY_SECONDS: Final = 0.01
LAG_SAMPLES: Final = 5


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
        Priority.EXPORT: Band(0.40, 0.60),
        Priority.READ: Band(0.60, 0.75),
        Priority.WEBHOOK: Band(0.70, 0.85),
        Priority.CHAT: Band(0.80, 0.95),
        Priority.INTAKE: Band(0.85, 1.05),
    }
)


#: Whose requests make the queue: they end soon. Streams, uploads and sockets last without being work.
COUNTED: Final = frozenset({Priority.INTAKE, Priority.WEBHOOK, Priority.READ})
CALM: Final = min(band.eases for band in BANDS.values())


def pressure(*, wait: float, lag: float, crowded: bool) -> float:
    """How full the fuller queue is; 1 is full. Both in seconds.

    ``crowded``: as many are at work as may be at a time.
    """
    return max(wait / FULL_WAIT_SECONDS, lag / (FULL_LAG_SECONDS if crowded else FOREIGN_LAG_SECONDS))


class Shedder:
    """Judges requests as they come."""

    def __init__(self, clock: Callable[[], float], *, slots: int) -> None:
        """``clock`` in seconds, monotonic. ``slots`` requests are worked at a time without waiting for each other."""
        self._clock, self._slots = clock, slots
        self._working = 0
        self._gap = FIRST_GAP_SECONDS
        #: When the last answer was given, as long as everybody has been busy since.
        self._last: float | None = None
        #: Let in a moment ago: not yet begun. One turn of a busy event loop may take in hundreds; the moment lasts as
        #: long as the loop needs for them.
        self._fresh = 0
        self._lags: deque[float] = deque([0.0] * LAG_SAMPLES, maxlen=LAG_SAMPLES)
        self._lag = 0.0
        #: What a class has saved up towards its next request: a fraction is spread evenly, without chance.
        self._saved = dict.fromkeys(BANDS, 0.0)

    @property
    def wait(self) -> float:
        """For how many seconds a request that came now would wait for its turn."""
        return max(0, self._excess) * self._gap

    @property
    def _excess(self) -> int:
        """How many more there are than can be worked at a time."""
        return self._working + self._fresh - self._slots

    def begin(self) -> None:
        """A request that is there as a whole is being worked."""
        self._working += 1

    def end(self) -> None:
        """It has been answered."""
        now = self._clock()
        if self._working > self._slots:
            if self._last is not None:
                self._gap += (min(now - self._last, MOST_GAP_SECONDS) - self._gap) * GAP_WEIGHT
            self._last = now
        else:
            self._last = None
        self._working -= 1

    @property
    def pressure(self) -> float:
        """The present pressure."""
        return pressure(wait=self.wait, lag=self._lag, crowded=self._excess >= 0)

    @property
    def calm(self) -> bool:
        """Whether everybody is let in."""
        return self.pressure <= CALM

    def admits(self, priority: Priority) -> bool:
        """Whether a request of this class is let in now."""
        band = BANDS.get(priority)
        if band is None:
            return True
        saved = self._saved[priority] + band.share(self.pressure)
        if saved < 1.0:
            self._saved[priority] = saved
            return False
        self._saved[priority] = saved - 1.0
        if self._fresh == 0:
            asyncio.get_running_loop().call_later(LAG_EVERY_SECONDS, self._arrived)
        self._fresh += 1
        return True

    def _arrived(self) -> None:
        self._fresh = 0

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
