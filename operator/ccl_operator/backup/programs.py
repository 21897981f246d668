"""PostgreSQL's client programs as child processes: started, watched, and never left behind."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from ccl_operator.backup.failure import StepFailed

#: Bytes per read and per write: large enough to be cheap, small enough that a few in flight do not matter.
CHUNK: Final = 1 << 20
_STDERR_LINES: Final = 4
_STOP_SECONDS: Final = 5.0


@dataclass(frozen=True)
class ProgramVersion:
    """A client program's version, e.g. ``pg_dump (PostgreSQL) 17.2`` and 17."""

    text: str
    major: int

    @property
    def number(self) -> str:
        """The version alone, e.g. ``17.2``."""
        return _version_number(self.text)


class Program:
    """A running client program. ``finish`` must be awaited before its work counts as done."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process
        self._tail = asyncio.create_task(_last_lines(process))

    async def output(self) -> AsyncIterator[bytes]:
        """What the program writes to its standard output, in pieces of at most ``CHUNK`` bytes, to its end."""
        assert self._process.stdout is not None
        while chunk := await self._process.stdout.read(CHUNK):
            yield chunk

    async def feed(self, chunk: bytes) -> bool:
        """Write to the program's standard input; False once the program no longer reads."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(chunk)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    async def finish(self) -> None:
        """Close its input and wait for its end. Raises StepFailed with its last lines when it failed."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        lines = await self._tail
        code = await self._process.wait()
        if code != 0:
            ended = f"ended with code {code}" if code > 0 else f"was killed by signal {-code}"
            raise StepFailed(f"{self._name} {ended}: {' | '.join(lines) or 'it said nothing'}")

    async def stop(self) -> None:
        """End the program if it still runs: first asked to (so that the server is told), then killed."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), _STOP_SECONDS)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        self._tail.cancel()


@asynccontextmanager
async def running(name: str, *arguments: str, environment: Mapping[str, str], reads: bool) -> AsyncIterator[Program]:
    """Run a program found on the environment's PATH; it is stopped when the block ends before it does.

    ``reads``: it takes its input from ``feed`` and its output is dropped; otherwise ``output`` is its output.
    """
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            name,
            *arguments,
            env=environment,
            stdin=pipe if reads else null,
            stdout=null if reads else pipe,
            stderr=pipe,
            limit=CHUNK,
        )
    except OSError as exc:
        raise StepFailed(f"cannot run {name}: {exc.strerror or exc}") from exc
    program = Program(name, process)
    try:
        yield program
    finally:
        await program.stop()


async def version(name: str, environment: Mapping[str, str]) -> ProgramVersion:
    """Ask a program for its version."""
    async with running(name, "--version", environment=environment, reads=False) as program:
        text = b"".join([chunk async for chunk in program.output()]).decode().strip()
        await program.finish()
    return ProgramVersion(text, int(_version_number(text).partition(".")[0]))


def _version_number(text: str) -> str:
    found = re.search(r"\d+(\.\d+)*", text)
    if found is None:
        raise StepFailed(f"no version number in {text[:80]!r}")
    return found.group()


async def _last_lines(process: asyncio.subprocess.Process) -> tuple[str, ...]:
    assert process.stderr is not None
    tail: deque[str] = deque(maxlen=_STDERR_LINES)
    while line := await _line(process.stderr):
        tail.append(line.decode(errors="replace").strip()[:300])
    return tuple(tail)


async def _line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:
        return b"(a line too long to show)\n"  # readline has dropped it
