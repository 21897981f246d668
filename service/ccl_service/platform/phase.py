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
    """What the parts of a process know of its way out.

    ``draining``: ``/ready`` is red. ``moving``: callers are asked to come back on another connection, which leads them
    to another process. ``stop`` ends the workers that claim; ``leave`` ends what would otherwise last: event streams
    and sockets.
    ``in_flight``: requests being answered now.
    """

    draining: bool = False
    moving: bool = False
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    leave: asyncio.Event = field(default_factory=asyncio.Event)
    in_flight: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)
    _settling: asyncio.TimerHandle | None = None

    def entered(self) -> None:
        """A request has begun."""
        self.in_flight += 1

    def left(self) -> None:
        """A request has ended."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        while self.in_flight:
            self._idle.clear()
            await self._idle.wait()

    def drain(self) -> None:
        """The way out has begun; there is no way back."""
        self.draining = self.moving = True
        self.stop.set()

    def move(self, seconds: float) -> None:
        """Send every caller elsewhere for ``seconds``, without going unready; a second call counts anew."""
        if self._settling is not None:
            self._settling.cancel()
        self.moving = True
        self.leave.set()
        self._settling = asyncio.get_running_loop().call_later(seconds, self._settle)

    def _settle(self) -> None:
        if not self.draining:
            self.moving = False
            self.leave.clear()
