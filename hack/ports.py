"""Ports for servers that are started in a moment."""

import random
import socket
from typing import Final

#: Below those that Linux gives to connections that go out (32768 and up): one of those may take a port from under a
#: server that has not come to bind it yet.
FIRST: Final = 15_000
LAST: Final = 29_999


def free_port() -> int:
    """A port that nobody listens at on any interface, and that nobody takes by chance. Raises OSError without one."""
    for port in random.sample(range(FIRST, LAST + 1), 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: time-waits do not count
            try:
                probe.bind(("", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {FIRST} and {LAST}")
