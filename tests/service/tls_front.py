"""TLS in front of a PostgreSQL that has none: it answers an SSLRequest and passes the rest on.

Source: postgresql.org, "Message Flow", SSL Session Encryption.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

_SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")


class TlsFront:
    """``encrypted`` and ``plain`` count the connections by which something came."""

    def __init__(self, behind: int, folder: Path) -> None:
        """``behind``: the server's port. ``folder`` holds ``cert.pem`` and ``key.pem``."""
        self.port = self.encrypted = self.plain = 0
        self._behind = behind
        self._connections: set[asyncio.Task[None]] = set()
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["TlsFront"]:
        """Listen on loopback until the block ends, which ends all connections."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        accepted = writer.transport
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._pass_on(reader, writer)
        finally:
            writer.transport.abort()
            accepted.abort()
            self._connections.discard(connection)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readexactly(len(_SSL_REQUEST))
        if first == _SSL_REQUEST:
            writer.write(b"S")
            await writer.start_tls(self._context)
            # A handshake alone counts for nothing: the client judges the certificate after it.
            first = await reader.readexactly(1)
            self.encrypted += 1
        else:
            self.plain += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        try:
            back.write(first)
            copies = [asyncio.create_task(_copy(*way)) for way in ((reader, back), (there, writer))]
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            back.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
        await writer.drain()
