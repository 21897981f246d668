"""A DNS server with the TXT records it is given; it speaks the protocol (RFC 1035) over UDP.

Every other name does not exist. ``silent``: it takes questions and answers none; ``rcode``: it answers all with that.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

TTL_SECONDS = 60


@dataclass
class FakeDns(asyncio.DatagramProtocol):
    """The server. ``records``: name without the last dot → texts; ``asked``: the names asked for, in order."""

    records: Mapping[str, Sequence[str]] = field(default_factory=dict)
    silent: bool = False
    rcode: dns.rcode.Rcode | None = None
    asked: list[str] = field(default_factory=list)
    address: str = ""
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to answer."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one question."""
        query = dns.message.from_wire(data)
        self.asked.append(query.question[0].name.to_text(omit_final_dot=True))
        if not self.silent and self._transport is not None:
            self._transport.sendto(self._answer(query).to_wire(), addr)

    def _answer(self, query: dns.message.Message) -> dns.message.Message:
        question = query.question[0]
        answer = dns.message.make_response(query, recursion_available=True)
        texts = self.records.get(question.name.to_text(omit_final_dot=True))
        if self.rcode is not None:
            answer.set_rcode(self.rcode)
        elif texts is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.TXT:
            quoted = [f'"{text}"' for text in texts]
            answer.answer.append(dns.rrset.from_text_list(question.name, TTL_SECONDS, "IN", "TXT", quoted))
        return answer


@contextlib.asynccontextmanager
async def start_dns(records: Mapping[str, Sequence[str]]) -> AsyncIterator[FakeDns]:
    """Run the server on a free port of the loopback until the block ends; ``address`` is host:port."""
    fake = FakeDns(records)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: fake, local_addr=("127.0.0.1", 0))
    host, port = transport.get_extra_info("sockname")
    fake.address = f"{host}:{port}"
    try:
        yield fake
    finally:
        transport.close()
