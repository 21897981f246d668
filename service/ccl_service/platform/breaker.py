"""When to stop asking somebody who keeps failing, and when to try again. Pure: time is an argument, in seconds."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

#: Failures in a row that open the breaker.
FAILURES: Final = 5
FIRST_REST: Final = timedelta(seconds=30)
LONGEST_REST: Final = timedelta(minutes=5)


class State(StrEnum):
    """closed: calls go out. open: none does. half_open: one call tests whether it works again."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(slots=True)
class Breaker:
    """Opens after ``FAILURES`` in a row; each failed test doubles the rest, up to ``LONGEST_REST``."""

    failures: int = 0
    rests: int = 0
    rest_until: float = 0.0

    def state(self, now: float) -> State:
        """Where it stands."""
        if self.failures < FAILURES:
            return State.CLOSED
        return State.OPEN if now < self.rest_until else State.HALF_OPEN

    def remaining(self, now: float) -> timedelta | None:
        """How long calls are held back from now on; None when they may go out."""
        return timedelta(seconds=self.rest_until - now) if self.state(now) is State.OPEN else None

    def begin(self, now: float) -> None:
        """A call goes out. While half open it is the one test: others rest until its result, or as long as a rest."""
        if self.state(now) is State.HALF_OPEN:
            self.rest_until = now + FIRST_REST.total_seconds()

    def succeeded(self) -> None:
        """A call has shown that it works."""
        self.failures = self.rests = 0

    def failed(self, now: float) -> None:
        """A call has failed for the other side's sake."""
        self.failures += 1
        if self.failures >= FAILURES:
            rest = min(FIRST_REST * (1 << min(self.rests, 10)), LONGEST_REST)
            self.rest_until = now + rest.total_seconds()
            self.rests += 1
