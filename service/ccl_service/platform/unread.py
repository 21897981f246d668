"""Cuts off connections whose other side does not read what it asked for.

A window of zero is acknowledged, so neither TCP_USER_TIMEOUT nor a keepalive ever ends such a connection, and all that
is waiting for it stays in memory. The buffer's size does not tell either: a kernel takes more from us only when a good
part of its own megabytes is gone, which may take a slow but steady reader minutes.
"""

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any, Final

#: How long a client may take nothing of what is waiting for it.
UNREAD_SECONDS: Final = 30.0
#: Looks in that time. They are counted, so that nobody is cut off for a loop that was busy elsewhere.
LOOKS: Final = 4
#: ``tcpi_bytes_acked`` of ``struct tcp_info`` (linux/tcp.h; since Linux 4.1), a number of 64 bits.
_ACKED_AT: Final = 120
_ACKED: Final = struct.Struct("@Q")
#: ``struct linger``: on, for no time. What the kernel still holds is dropped with the connection (socket(7)).
_NO_LINGER: Final = struct.pack("ii", 1, 0)


class Unread:
    """Looks after one connection from ``watch`` until nothing waits for its client any more."""

    __slots__ = ("_handle", "_idle", "_on_abort", "_seconds", "_taken", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float, on_abort: Callable[[], None]) -> None:
        self._transport, self._seconds, self._on_abort = transport, seconds, on_abort
        self._handle: asyncio.TimerHandle | None = None
        self._taken = self._idle = 0

    def watch(self) -> None:
        """Begin, unless it has begun already or nothing waits."""
        if self._handle is None and self._transport.get_write_buffer_size():
            self._taken, self._idle = taken(self._transport), 0
            self._again()

    def over(self) -> None:
        """The connection has ended."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _again(self) -> None:
        self._handle = asyncio.get_running_loop().call_later(self._seconds / LOOKS, self._look)

    def _look(self) -> None:
        self._handle = None
        if not self._transport.get_write_buffer_size():
            return
        now = taken(self._transport)
        self._idle = self._idle + 1 if now <= self._taken else 0
        self._taken = now
        if self._idle < LOOKS:
            self._again()
            return
        self._on_abort()
        abort(self._transport)


def taken(transport: asyncio.Transport) -> int:
    """A number that rises whenever the other side takes something: the bytes it has acknowledged.

    Where the system does not tell, the size of the buffer (negative) has to do.
    """
    if sys.platform == "linux":
        connection: Any = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED_AT + _ACKED.size)
            if len(info) == _ACKED_AT + _ACKED.size:
                return int(_ACKED.unpack_from(info, _ACKED_AT)[0])
    return -transport.get_write_buffer_size()


def abort(transport: asyncio.Transport) -> None:
    """End the connection at once, and free what the kernel holds for it as well."""
    connection: Any = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    transport.abort()
