"""A check that asks somebody outside: remembered for a while, never asked twice at once, never waited for long.

Whoever asks for the verdict waits ``PATIENCE``; a later answer still counts for those who come after. So the gate's
five seconds hold even when every provider swallows requests, and providers see a call per pod every few minutes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ccl_service.platform.checks.verdict import PASS, WARN, Verdict

#: Seconds. Below ``readiness.CHECK_SECONDS``, after which a check counts as failed.
PATIENCE: Final = 2.5
GOOD_FOR: Final = 300.0
BAD_FOR: Final = 30.0

LATE: Final = Verdict(
    WARN,
    "NoAnswer",
    f"no answer within {PATIENCE:g} s",
    "look again in a minute; if it stays, look at the network policy, the proxy and the provider's status page",
)


class Remembered:
    """The latest verdict of ``ask``, which maps what it expects to go wrong to a verdict itself."""

    def __init__(
        self, ask: Callable[[], Awaitable[Verdict]], *, clock: Callable[[], float], patience: float = PATIENCE
    ) -> None:
        """``clock`` and ``patience`` in seconds; the clock is monotonic."""
        self._ask = ask
        self._clock = clock
        self._patience = patience
        #: The question under way or, once it is done, the latest answer, which counts until ``_until``.
        self._asking: asyncio.Task[Verdict] | None = None
        self._until = 0.0

    async def verdict(self) -> Verdict:
        """A pass is good for 5 minutes from when it came, anything else for 30 s.

        Raises what ``ask`` raises, once: whoever comes next asks anew.
        """
        asking = self._asking
        if asking is None or (asking.done() and self._clock() >= self._until):
            asking = self._asking = asyncio.create_task(self._once())
        await asyncio.wait({asking}, timeout=self._patience)
        if not asking.done():
            return LATE
        if self._asking is asking and asking.exception():
            self._asking = None
        return asking.result()

    async def close(self) -> None:
        """Give up asking."""
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _once(self) -> Verdict:
        good_for = BAD_FOR
        try:
            found = await self._ask()
            if found.status is PASS:
                good_for = GOOD_FOR
        finally:
            self._until = self._clock() + good_for
        return found
