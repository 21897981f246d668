"""Until when this process may write: ``lease`` extends it, ``client`` asks before every write."""

import math
from collections.abc import Callable


class Permit:
    """Not given at first. ``clock`` is monotonic, in seconds. Read from other threads as well: one float, no lock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until = -math.inf

    def extend(self, until: float) -> None:
        """Allow writes until that time."""
        self._until = until

    def revoke(self) -> None:
        """Allow no further write."""
        self._until = -math.inf

    def remaining(self) -> float:
        """Seconds in which a write must be over; 0 when none may begin."""
        return max(0.0, self._until - self._clock())


class Unlimited(Permit):
    """For who works alone: a test, a tool."""

    def __init__(self) -> None:
        super().__init__(lambda: 0.0)
        self.extend(math.inf)
