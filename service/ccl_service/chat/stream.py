"""The answer to a turn as a reader follows it. Event stream and socket differ only in how they write it down."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

from ccl_contract.chat import Segment, TurnDone, TurnFailed
from ccl_service.chat.model import Progress, TurnState
from ccl_service.platform.problems import CclError, TryLater

#: Seconds between two looks at the database while a reader waits.
POLL_SECONDS: Final = 0.2

Event = Segment | TurnDone | TurnFailed


def failed(error: CclError) -> TurnFailed:
    """A problem in the form that travels inside an answer which has begun."""
    return TurnFailed(code=error.code, retryable=isinstance(error, TryLater))


async def follow(
    look: Callable[[int], Awaitable[Progress]], progress: Progress, seen: int, *, over: Callable[[], bool]
) -> AsyncGenerator[Event | None, None]:
    """The segments after ``seen``, then one TurnDone or TurnFailed; None each time there is nothing new.

    ``look(seen)`` tells what is new after ``progress``; its errors become TurnFailed. Ends without a last event once
    ``over()``: the reader comes back with the last event it has seen.
    """
    while True:
        for seq, text in progress.segments:
            yield Segment(seq=seq, text=text)
            seen = seq
        if (last := _last(progress)) is not None:
            yield last
            return
        if over():
            return
        yield None
        await asyncio.sleep(POLL_SECONDS)
        try:
            progress = await look(seen)
        except CclError as error:
            yield failed(error)
            return


def _last(progress: Progress) -> TurnDone | TurnFailed | None:
    if progress.state is TurnState.DONE and progress.action is not None:
        return TurnDone(action=progress.action)
    if progress.state is TurnState.QUARANTINED:
        return failed(CclError())
    return None
