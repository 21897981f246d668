"""Where a process stands between start and exit, and what it is there for: probes, middleware and stop share it."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum


class Role(StrEnum):
    """What a process does: HTTP only, background work only, or both."""

    WEB = "web"
    JOBS = "jobs"
    ALL = "all"


@dataclass(slots=True)
class Phase:
    """``draining``: on the way out. ``stop`` ends the workers. ``in_flight``: requests being answered now."""

    draining: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def entered(self) -> None:
        """A request has begun."""
        self.in_flight += 1

    def left(self) -> None:
        """A request has ended."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def idle(self, within: float) -> bool:
        """Wait until no request is being answered; False after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while self.in_flight:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            return False
        return True
