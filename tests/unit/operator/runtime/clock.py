"""A clock for what waits."""

from dataclasses import dataclass


@dataclass
class Clock:
    """A monotonic clock that tests move."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now
