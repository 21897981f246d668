"""The listening socket, and how it is closed without refusing anybody who has already been let in by the kernel."""

import asyncio
import contextlib
import socket
from typing import Final

from aiohttp import web

BACKLOG: Final = 1024


class Listener:
    """Listens on every IPv4 address of the pod."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        """``runner`` has been set up. Port 0 is any free one."""
        self._runner, self._port = runner, port
        self._socket: socket.socket | None = None
        self._site: web.SockSite | None = None

    async def start(self) -> None:
        """Raises OSError when the port cannot be listened on."""
        self._socket = socket.create_server(("0.0.0.0", self._port), backlog=BACKLOG)  # noqa: S104 - a pod's own
        self._socket.setblocking(False)
        self._site = web.SockSite(self._runner, self._socket, backlog=BACKLOG)
        await self._site.start()

    async def stop(self) -> None:
        """Accept nobody new.

        Closing a socket resets the connections that the kernel has accepted and we have not. A proxy that has written
        a POST to one of them must not send it again, so its caller would get an error: they are taken in first.
        """
        if self._socket is None or self._site is None:
            return
        last = self._socket.dup()
        await self._site.stop()
        waiting = []
        with last, contextlib.suppress(OSError):  # BlockingIOError: nobody is left
            while True:
                waiting.append(last.accept()[0])
        loop, server = asyncio.get_running_loop(), self._runner.server
        for connection in waiting:
            connection.setblocking(False)
            if server is not None:
                await loop.connect_accepted_socket(server, connection)
