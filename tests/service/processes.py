"""``ccl-service`` as real processes."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import BinaryIO

import aiohttp

from hack.ports import free_port

PASSED_ON = ("PATH", "PYTHONPATH")


@dataclass(frozen=True)
class Process:
    """A running service."""

    handle: asyncio.subprocess.Process
    url: str

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


async def until_status(session: aiohttp.ClientSession, url: str, status: int, *, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.get(url) as answer:
                if answer.status == status:
                    return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{url} never answered {status}")


async def until_refused(url: str, *, within: float = 30) -> None:
    """Until nobody listens there any more."""
    port = int(url.rpartition(":")[2])
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return
        writer.close()
        await asyncio.sleep(0.02)
    raise AssertionError("the listener never closed")


@contextlib.asynccontextmanager
async def running(
    environ: dict[str, str],
    *arguments: str,
    program: tuple[str, ...] = ("-m", "ccl_service"),
    stderr: BinaryIO | None = None,
) -> AsyncIterator[Process]:
    """A service on a free port. What it logs is shown with the test's output unless ``stderr`` takes it."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *program,
        "serve",
        *arguments,
        env={name: os.environ[name] for name in PASSED_ON if name in os.environ} | environ | {"PORT": str(port)},
        stderr=stderr or asyncio.subprocess.PIPE,
    )
    # read on, or a chatty process would stop at a full pipe
    errors = asyncio.create_task(_read(process))
    try:
        yield Process(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await errors


async def command(environ: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run ``ccl-service`` to its end: exit code, output, errors."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "ccl_service",
        *arguments,
        env={"PATH": os.environ["PATH"]} | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def _read(process: asyncio.subprocess.Process) -> None:
    if process.stderr is None:
        return
    while line := await process.stderr.readline():
        print(line.decode(errors="replace"), end="", file=sys.stderr)
