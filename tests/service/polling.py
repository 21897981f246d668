"""Waiting in tests: a condition is polled until it holds or its deadline passes."""

import asyncio
import time
from collections.abc import Awaitable, Callable


async def eventually(holds: Callable[[], Awaitable[bool]], *, within: float = 5.0, every: float = 0.02) -> None:
    """Return as soon as ``holds`` does, asked ``every`` so many seconds. Fails the test after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not await holds():
        assert time.monotonic() < deadline, f"{holds.__qualname__} did not become true within {within} s"
        await asyncio.sleep(every)
