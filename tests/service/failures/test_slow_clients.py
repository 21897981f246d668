"""Ten thousand clients who send and read as slowly as they can, from many addresses."""

import asyncio
import contextlib
import resource
import select
import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import psutil
import pytest

from tests.service.conftest import ROOT_KEY
from tests.service.failures.ledger import Ledger
from tests.service.polling import eventually
from tests.service.processes import Process, running, until_status

CLIENTS = 10_000
READERS = 50
#: Clients of one address: fewer than CONNECTIONS_PER_IP lets in.
OF_AN_ADDRESS = 500
#: What else this process, and the service, hold open.
OTHER_FILES = 500
#: What a connection may cost the process, in bytes, and what the answer to one that is not read.
OF_A_CONNECTION, OF_AN_ANSWER = 16_000, 400_000
#: How many come before the next ones wait until they are let in: the kernel forgets whom the listener has no room for.
AT_ONCE = 400
#: How long a call may take that competes with all of them, in seconds.
SERVED_WITHIN = 10.0

#: linux/in.h; Python has no name for it.
IP_BIND_ADDRESS_NO_PORT = 24

LAST = b"GET /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
HEAD = b"GET /live HTTP/1.1\r\nHost: x\r\nX-Slow: "
BODY = f"POST /api/leads HTTP/1.1\r\nHost: x\r\nX-API-Key: {ROOT_KEY}\r\nContent-Type: application/json\r\n".encode()
BODY += b"Content-Length: 100\r\n\r\n{"
#: More than the kernel keeps for a client that does not read (4 MB).
ANSWERS = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 60

#: The same patience, in seconds, for heads, bodies and readers: for the last to come while the first are still there.
PATIENCE = 20
IMPATIENT = f"""
from ccl_service.cli import main
from ccl_service.platform import body
from ccl_service.platform.server import runner

runner.__kwdefaults__.update(header_seconds={PATIENCE}, unread_seconds={PATIENCE})
body.BODY_SECONDS = {PATIENCE}
main()
"""


@pytest.fixture
def room() -> Iterator[int]:
    """How many clients the limit of open files leaves room for, once it is as high as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield min(CLIENTS, hard - OTHER_FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Crowd:
    """Clients that have said what they will say."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._sockets: list[socket.socket] = []

    @property
    def size(self) -> int:
        return len(self._sockets)

    async def join(self, count: int, words: bytes, **options: int) -> None:
        """So many more who say ``words`` and no more."""
        for start in range(0, count, AT_ONCE):
            await asyncio.gather(*(self._join(words, **options) for _ in range(min(AT_ONCE, count - start))))
            await self._all_let_in()

    async def _join(self, words: bytes, *, buffer: int = 0) -> None:
        client = socket.socket()
        client.setblocking(False)
        address = f"127.0.{1 + self.size // OF_AN_ADDRESS}.1"
        self._sockets.append(client)
        if buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        # the port is chosen when the other side is known, so that addresses share ports
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        client.bind((address, 0))
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", self._port))
        await loop.sock_sendall(client, words)

    async def _all_let_in(self) -> None:
        """Whoever comes now is let in after them."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.closing(writer):
            writer.write(LAST)
            await reader.read()

    def cut_off(self) -> int:
        """How many have been cut off, found without reading."""
        poll = select.poll()
        for client in self._sockets:
            poll.register(client, select.POLLRDHUP)
        return len(poll.poll(0))

    def close(self) -> None:
        for client in self._sockets:
            client.close()


@contextlib.asynccontextmanager
async def crowd(process: Process) -> AsyncIterator[Crowd]:
    made = Crowd(process.port)
    try:
        yield made
    finally:
        made.close()


async def test_ten_thousand_slow_clients_keep_nobody_else_waiting_and_are_cut_off(
    environ: dict[str, str], root: dict[str, str], room: int
) -> None:
    """On a loaded machine the first may be cut off before the last have come; their number at once is printed."""
    async with running(environ, "--no-jobs", program=("-c", IMPATIENT)) as process, crowd(process) as slow:
        async with aiohttp.ClientSession() as http:
            await until_status(http, f"{process.url}/ready", 200)
        before = psutil.Process(process.handle.pid).memory_info().rss
        ledger = Ledger(process.url, root)
        async with ledger.busy(writers=1, readers=0, talkers=0):
            await slow.join(room * 3 // 4, HEAD)
            await slow.join(room - READERS - slow.size, BODY)
            await slow.join(READERS, ANSWERS, buffer=4096)
            print(f"{slow.size - slow.cut_off()} clients at once")
            await ledger.served(5, "write", "alive")
            grown = psutil.Process(process.handle.pid).memory_info().rss - before

            async def all_cut_off() -> bool:
                return slow.cut_off() == slow.size

            await eventually(all_cut_off, within=120, every=0.2)
        assert ledger.wrong == {}
        assert max(answer.seconds for answer in ledger.answers) < SERVED_WITHIN
        assert grown < room * OF_A_CONNECTION + READERS * OF_AN_ANSWER
        assert process.handle.returncode is None
    if room < CLIENTS:
        pytest.skip(f"all of it held, but with {room} clients: the limit of open files leaves no room for {CLIENTS}")
