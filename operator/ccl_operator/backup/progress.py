"""Progress lines, for people who look at a pod's log while a long step runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

Say = Callable[[str], None]

_EVERY_SECONDS: Final = 5.0


def megabytes(size_bytes: int) -> str:
    """``12.3 MiB``."""
    return f"{size_bytes / (1 << 20):.1f} MiB"


async def reported(chunks: AsyncIterator[bytes], say: Say, what: str) -> AsyncIterator[bytes]:
    """Pass ``chunks`` on, saying how far they are every few seconds."""
    clock = asyncio.get_running_loop().time
    started = last = clock()
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if clock() - last >= _EVERY_SECONDS:
            last = clock()
            say(f"{what}: {megabytes(size)} in {last - started:.0f} s")
        yield chunk
