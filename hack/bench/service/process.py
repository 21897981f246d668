"""``ccl-service serve`` and its peers as processes that benchmarks start and stop."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from hack.ports import free_port

ROOT_KEY = "root-key-of-the-benchmarks-00000001"
READY_WITHIN = 60.0


@dataclass(frozen=True)
class Serving:
    """A ready process. ``started_in``: seconds from its start to the first 200 of /ready."""

    handle: asyncio.subprocess.Process
    port: int
    started_in: float

    @property
    def memory_mb(self) -> float:
        """Resident memory in MB."""
        pages = int(Path(f"/proc/{self.handle.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_seconds(self) -> float:
        """CPU time used so far by the process and those it has started."""
        first = psutil.Process(self.handle.pid)
        times = (one.cpu_times() for one in (first, *first.children(recursive=True)))
        return sum(one.user + one.system for one in times)


@contextlib.asynccontextmanager
async def serving(database_url: str, *options: str, **variables: str) -> AsyncIterator[Serving]:
    """``options`` of ``serve``. Raises TimeoutError when it does not become ready."""
    environ = {
        "CCL_ENV": "development",
        "DATABASE_URL": database_url,
        "INTERNAL_API_KEY": ROOT_KEY,
        "JWT_SECRET": "jwt-secret-of-the-benchmarks-0000001",
        "SESSION_SECRET": "session-secret-of-the-benchmarks-001",
        "RATE_LIMIT_MAX_REQUESTS": "1000000000",
        "CONNECTIONS_PER_IP": "100000",
        **variables,
    }
    async with started(("-m", "ccl_service", "serve", *options), environ) as found:
        yield found


@contextlib.asynccontextmanager
async def started(
    command: Sequence[str], environ: Mapping[str, str], *, output: IO[bytes] | None = None
) -> AsyncIterator[Serving]:
    """Arguments of Python, with ``{port}`` for the port that is also in PORT; ``output``: where its lines go.

    Raises TimeoutError when it does not become ready.
    """
    port = free_port()
    began = time.perf_counter()
    handle = await asyncio.create_subprocess_exec(
        sys.executable,
        *(word.format(port=port) for word in command),
        env={"PATH": os.environ["PATH"], "PORT": str(port), **environ},
        stdout=output,
        stderr=output,
    )
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await _ready(port):  # noqa: ASYNC110 - another process cannot set an event
                await asyncio.sleep(0.005)
        yield Serving(handle, port, time.perf_counter() - began)
    finally:
        await _ended(handle)


async def _ended(handle: asyncio.subprocess.Process) -> None:
    """Kill the process and those it has started; it first, or it would start others in their place."""
    if handle.returncode is None:
        children = psutil.Process(handle.pid).children(recursive=True)
        handle.kill()
        for child in children:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    await handle.wait()


async def _ready(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return (await reader.read()).startswith(b"HTTP/1.1 200")
    except OSError:
        return False
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
