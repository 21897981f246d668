"""A TCP proxy in front of the API server: a network that stands still, or a server that is away."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from hack.cluster.apiserver import ApiServer


class TcpProxy:
    """Bytes pass until ``freeze`` (nothing moves, nothing breaks: a black hole) or ``refuse`` (connections break)."""

    def __init__(self, server: ApiServer) -> None:
        self._target = urlsplit(server.url)
        self._loop = asyncio.new_event_loop()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._copies: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None
        self._port = 0

    def freeze(self) -> None:
        """From now on nothing gets through, in either direction; new connections are taken and then silent."""
        self._call(self._flowing.clear)

    def refuse(self) -> None:
        """Break all connections and take no new ones."""
        self._run(self._close())

    def resume(self) -> None:
        """Let bytes pass again. What stood still is thrown away with its connections, as a kernel does in time."""
        self._run(self._reopen())

    @contextmanager
    def serving(self) -> Iterator["TcpProxy"]:
        """Listen on a port of loopback, in a thread, until the block ends."""
        thread = threading.Thread(target=self._loop.run_forever, name="tcp-proxy")
        thread.start()
        try:
            self._run(self._open())
            yield self
        finally:
            self._run(self._close())
            self._call(self._loop.stop)
            thread.join()
            self._loop.close()

    @property
    def url(self) -> str:
        """Where it stands for the API server."""
        return f"https://127.0.0.1:{self._port}"

    def _call(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(callback)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _open(self) -> None:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in self._writers:
            writer.transport.abort()
        copies = list(self._copies)
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)

    async def _reopen(self) -> None:
        await self._close()
        self._flowing.set()
        await self._open()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        self._copies.add(task)
        try:
            await self._flowing.wait()
            with suppress(OSError):
                there, back = await asyncio.open_connection(self._target.hostname, self._target.port)
                self._writers.add(back)
                await asyncio.gather(self._copy(reader, back), self._copy(there, writer))
        finally:
            self._copies.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(65_536):
                await self._flowing.wait()
                writer.write(chunk)
                await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.transport.abort() if writer.transport.is_closing() else writer.close()
