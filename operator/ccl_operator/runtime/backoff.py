"""How long to wait after the n-th failure in a row. Pure."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Doubles from ``first`` to ``longest`` seconds; half of it is jitter, so that many do not come back at once.

    ``random`` gives numbers in [0, 1).
    """

    first: float
    longest: float
    random: Callable[[], float]

    def delay(self, failures: int) -> float:
        """Seconds; ``failures`` counts from 1."""
        # The exponent is bounded because 2.0 ** 1024 overflows, and failures may go on for weeks.
        full = min(self.longest, self.first * 2.0 ** min(failures - 1, 30))
        return full * (0.5 + self.random() / 2)
