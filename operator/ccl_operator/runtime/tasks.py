"""Tasks that are known by their names, and their end."""

import asyncio
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any

Task = asyncio.Task[Any]


def task(awaited: Coroutine[Any, Any, Any] | asyncio.Future[Any], name: str) -> Task:
    """Begin it."""

    async def run() -> Any:
        return await awaited

    return asyncio.create_task(run(), name=name)


async def cancel(tasks: Iterable[Task]) -> None:
    """End them all, whatever they end with."""
    ending = tuple(tasks)
    for each in ending:
        each.cancel()
    for each in ending:
        with suppress(asyncio.CancelledError, Exception):
            await each
