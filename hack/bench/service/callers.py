"""Callers who each wait for their answer before they ask again, on connections that stay open."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Final, NamedTuple

#: What Retry-After asks of callers who are turned away.
RETRY_SECONDS: Final = 1.0


class Answer(NamedTuple):
    """What a request got; ``status`` 0: the connection broke."""

    status: int
    seconds: float


class Client(asyncio.Protocol):
    """One connection with at most one request on its way; as little work as can be, to leave the CPU to the service."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._told: Callable[[int], None] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._tell(0)

    def send(self, request: bytes, told: Callable[[int], None]) -> None:
        """``told`` gets the status, 0 for a broken connection."""
        self._told, self._data = told, b""
        if self._transport is None:
            self._tell(0)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if found:
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if len(body) >= int(length or 0):
                self._tell(int(self._data[9:12]))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _tell(self, status: int) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(status)


@contextlib.asynccontextmanager
async def connected(port: int, callers: int) -> AsyncIterator[Sequence[Client]]:
    """So many connections."""
    loop = asyncio.get_running_loop()
    clients = [(await loop.create_connection(Client, "127.0.0.1", port))[1] for _ in range(callers)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def ask(clients: Sequence[Client], requests: Iterator[bytes], count: int) -> list[Answer]:
    """Send the next ``count`` requests; their answers in the order in which they came."""
    answers: list[Answer] = []
    wanted = itertools.islice(requests, count)
    await asyncio.gather(*(_one_after_the_other(client, wanted, answers) for client in clients))
    return answers


async def _one_after_the_other(client: Client, wanted: Iterator[bytes], answers: list[Answer]) -> None:
    loop = asyncio.get_running_loop()
    for request in wanted:
        told: asyncio.Future[int] = loop.create_future()
        began = time.perf_counter()
        client.send(request, told.set_result)
        status = await told
        answers.append(Answer(status, time.perf_counter() - began))
        if status == 503:
            await asyncio.sleep(RETRY_SECONDS)


async def served(clients: Sequence[Client], requests: Iterator[bytes], count: int) -> int:
    """How many of ``ask``'s requests were served; the others were turned away (503), as a starved machine does.

    Raises SystemExit for any other answer.
    """
    statuses = Counter(answer.status for answer in await ask(clients, requests, count))
    if statuses.keys() - {200, 201, 503}:
        raise SystemExit(f"answers with {dict(statuses)}")
    return statuses[200] + statuses[201]
