"""HTTP/2 as a caller writes it who keeps to no rule: one request on a connection of its own."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, StreamReset

from tests.service.nginx.conftest import NAME, Balancer

#: Neither checked nor put in order: what is written is what goes out.
UNCHECKED = H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
Fields = Sequence[tuple[str, str]]


def fields(method: str, path: str, *more: tuple[str, str]) -> list[tuple[str, str]]:
    """The pseudo fields of a request, and ``more``."""
    return [(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path), *more]


@dataclass
class Answer:
    """An answer as far as it has come. ``status`` 0: the stream was reset instead."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    over: bool = False


class Connection:
    """A connection with any number of requests at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = H2Connection(UNCHECKED)
        self._h2.initiate_connection()
        self._answers: dict[int, Answer] = {}

    def send(self, request: Fields, body: bytes = b"") -> Answer:
        """Write a request; its answer fills while ``read`` is awaited."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream, request)
        self._h2.send_data(stream, body, end_stream=True)
        self._writer.write(self._h2.data_to_send())
        return self._answers.setdefault(stream, Answer())

    async def read(self) -> None:
        """Take in what comes next. Raises EOFError when nothing does any more."""
        data = await self._reader.read(65536)
        if not data:
            raise EOFError
        for event in self._h2.receive_data(data):
            self._take(event)
        self._writer.write(self._h2.data_to_send())

    async def whole(self, answer: Answer) -> Answer:
        """The answer once it is over."""
        async with asyncio.timeout(30):
            while not answer.over:
                await self.read()
        return answer

    def _take(self, event: Event) -> None:
        answer = self._answers.get(getattr(event, "stream_id", 0))
        if answer is None:
            return
        match event:
            case ResponseReceived(headers=headers):
                answer.headers = {str(name): str(value) for name, value in headers or ()}
                answer.status = int(answer.headers[":status"])
            case DataReceived(data=data, flow_controlled_length=length):
                answer.body += data or b""
                self._h2.acknowledge_received_data(length or 0, event.stream_id or 0)
            case StreamEnded() | StreamReset():
                answer.over = True


@contextlib.asynccontextmanager
async def http2(balancer: Balancer) -> AsyncIterator[Connection]:
    """A connection on which both sides have agreed to HTTP/2."""
    trust = ssl.create_default_context(cafile=balancer.certificate)
    trust.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("127.0.0.1", balancer.port, ssl=trust, server_hostname=NAME)
    try:
        chosen = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        assert chosen == "h2"
        yield Connection(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask(balancer: Balancer, request: Fields, body: bytes = b"") -> Answer:
    """One request alone."""
    async with http2(balancer) as connection:
        return await connection.whole(connection.send(request, body))
