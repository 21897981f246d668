"""Redis servers of a test's own, which can be killed and frozen."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator

from hack.ports import free_port
from tests.service.polling import eventually


class OwnRedis:
    """A Redis without persistence on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Returns once it listens."""
        arguments = ("--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no")
        nowhere = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec("redis-server", *arguments, stdout=nowhere, stderr=nowhere)

        async def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 0.2):
                return True
            return False

        await eventually(listens, within=30)

    async def kill(self) -> None:
        """Gone, with all it held."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    async def freeze(self) -> None:
        """It does nothing any more; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


@contextlib.asynccontextmanager
async def own_redis() -> AsyncIterator[OwnRedis]:
    """A running one."""
    made = OwnRedis()
    try:
        await made.start()
        yield made
    finally:
        await made.kill()
