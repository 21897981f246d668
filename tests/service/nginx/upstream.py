"""What nginx sends on, byte by byte: an upstream that keeps what it gets and says yes to all of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Received:
    """One request as it came. ``fields`` holds names in lower case, in order, one pair for each line."""

    line: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def values(self, name: str) -> list[bytes]:
        """Every value of a field."""
        return [value for found, value in self.fields if found == name.encode()]


class Recorder:
    """The upstream. Whatever follows a request on its connection is read as another one."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError), contextlib.closing(writer):
            while True:
                self.received.append(await _request(reader))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()


async def _request(reader: asyncio.StreamReader) -> Received:
    line, *rest = (await reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
    pairs = (field.partition(b":") for field in rest)
    fields = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    length = int(dict(fields).get(b"content-length", b"0"))
    return Received(line, fields, await reader.readexactly(length))


@contextlib.asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    """An upstream on a free port."""
    made = Recorder()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
