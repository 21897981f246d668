"""What reaches an instance: one request for each that was sent, in one reading, with nginx's word for who sent it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.service.nginx.conftest import Balancer, nginx
from tests.service.nginx.http2 import Fields, ask, fields, http2
from tests.service.nginx.upstream import Received, Recorder, recorder

SMUGGLED = b"GET /api/smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/leads HTTP/1.1\r\nHost: your-domain.com\r\n"
GET = POST.replace(b"POST", b"GET")

#: RFC 9112, 6.3 and 5: two lengths, or a length and a coding; fields that servers read differently.
TWO_READINGS = {
    "length and coding": POST + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": POST + b"Content-Length: 0\r\nContent-Length: 5\r\n\r\n",
    "the same length twice": POST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": POST + b"Content-Length: 0, 0\r\n\r\n",
    "a signed length": POST + b"Content-Length: +0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": POST + b"Content-Length: 0x0\r\n\r\n",
    "a length before a blank": POST + b"Content-Length : 0\r\n\r\n",
    "a coding before a blank": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a coding before a tab": POST + b"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "a coding after a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "an unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding in HTTP/1.0": POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without size": POST + b"Transfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "a chunk with a prefix": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a chunk beyond numbers": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 17 + b"\r\n",
    "a folded field": POST + b"X-Forwarded-For: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "a folded coding": POST + b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n",
    "a blank line that is none": POST + b" \r\nContent-Length: 0\r\n\r\n",
    "nul in a value": POST + b"X-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "nul in a name": POST + b"X-\x00A: b\r\nContent-Length: 0\r\n\r\n",
    "a return in a value": POST + b"X-A: a\rX-Forwarded-For: b\r\nContent-Length: 0\r\n\r\n",
    "a name of two words": POST + b"X A: b\r\nContent-Length: 0\r\n\r\n",
    "two hosts": POST + b"Host: evil.example\r\nContent-Length: 0\r\n\r\n",
    "a host with a path": GET.replace(b"your-domain.com", b"your-domain.com/a") + b"\r\n",
}
#: One reading; nginx writes it anew.
ONE_READING = {
    "chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in capitals": POST + b"TRANSFER-ENCODING: CHUNKED\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Forwarded-For: a\r\n\r\n",
    "two addresses": POST + b"X-Forwarded-For: a\r\nx-forwarded-for: b\r\nContent-Length: 2\r\n\r\nok",
    "underscores": POST + b"X_Forwarded_For: a\r\nX_Real_IP: a\r\nContent_Length: 9\r\nContent-Length: 2\r\n\r\nok",
    "other names": POST + b"X-Real-IP: a\r\nForwarded: for=a\r\nX-Forwarded-Proto: http\r\nContent-Length: 2\r\n\r\nok",
    "fields to drop": POST + b"Connection: X-Forwarded-For, Content-Length, close\r\nContent-Length: 2\r\n\r\nok",
    "an upgrade": POST + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
    "an absolute path": POST.replace(b" /api", b" https://your-domain.com/api") + b"Content-Length: 2\r\n\r\nok",
    "a proxy's path": POST + b"X-Original-URL: /console\r\nContent-Length: 2\r\n\r\nok",
}
FORWARDED = {
    "x-forwarded-for": [b"127.0.0.1"],
    "x-real-ip": [b"127.0.0.1"],
    "x-forwarded-proto": [b"https"],
    "host": [b"your-domain.com"],
    "content-length": [b"2"],
    **{name: [] for name in ("forwarded", "transfer-encoding", "connection", "upgrade", "te")},
}


@dataclass(frozen=True)
class Door:
    """nginx and what it sends on."""

    balancer: Balancer
    recorder: Recorder


@pytest.fixture
async def door(certificate: tuple[Path, Path]) -> AsyncIterator[Door]:
    async with recorder() as upstream:
        with nginx((upstream.port, upstream.port), certificate) as balancer:
            yield Door(balancer, upstream)


def sent_on_once(received: list[Received], method: bytes = b"POST") -> None:
    """One request, its fields nginx's own."""
    assert [request.line for request in received] == [method + b" /api/leads HTTP/1.1"]
    (request,) = received
    assert {name: request.values(name) for name in FORWARDED} == FORWARDED
    assert not any(b"_" in name for name, _ in request.fields)
    assert request.body == b"ok"


async def test_what_has_two_readings_reaches_nobody(door: Door) -> None:
    wrong = {}
    for name, request in TWO_READINGS.items():
        answers = await door.balancer.everything(request + SMUGGLED)
        if not answers.startswith(b"HTTP/1.1 400 ") or answers.count(b"HTTP/1.1 ") != 1:
            wrong[name] = answers
    assert wrong == {}
    assert door.recorder.received == []


async def test_what_has_one_reading_is_sent_on_in_nginx_own_words(door: Door) -> None:
    for name, request in ONE_READING.items():
        door.recorder.received.clear()
        answer = await door.balancer.answer(request)
        assert answer.status == 200, name
        sent_on_once(door.recorder.received)


async def test_a_body_that_looks_like_a_request_is_a_body(door: Door) -> None:
    request = POST + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED
    assert (await door.balancer.answer(request)).status == 200
    assert [found.body for found in door.recorder.received] == [SMUGGLED]


#: RFC 9113, 8.2 and 8.3.
HTTP2_TWO_READINGS: dict[str, Fields] = {
    "a shorter length": fields("POST", "/api/leads", ("content-length", "1")),
    "a longer length": fields("POST", "/api/leads", ("content-length", "20")),
    "two lengths": fields("POST", "/api/leads", ("content-length", "2"), ("content-length", "2")),
    "a line's end in a value": fields("POST", "/api/leads", ("x-a", "a\r\nX-Forwarded-For: b")),
    "a line feed in a value": fields("POST", "/api/leads", ("x-a", "a\nX-Forwarded-For: b")),
    "nul in a value": fields("POST", "/api/leads", ("x-a", "a\0b")),
    "a line's end in a name": fields("POST", "/api/leads", ("x-a: b\r\nx-b", "c")),
    "a colon in a name": fields("POST", "/api/leads", ("x:a", "b")),
    "a blank in a name": fields("POST", "/api/leads", ("x a", "b")),
    "capitals in a name": fields("POST", "/api/leads", ("X-A", "b")),
    "a line in a path": fields("POST", "/api/leads HTTP/1.1\r\nX-A: b"),
    "a blank in a path": fields("POST", "/api/leads b"),
    "a request in a method": fields("GET /api/smuggled HTTP/1.1\r\nX-A:", "/api/leads"),
    "a line in an authority": [(":authority", "x\r\nX-Real-IP: a"), *fields("POST", "/api/leads")[:2], (":path", "/a")],
    "two paths": fields("POST", "/api/leads", (":path", "/api/smuggled")),
    "no path": fields("POST", "/api/leads")[:3],
    "another host": fields("POST", "/api/leads", ("host", "evil.example")),
}
HTTP2_ONE_READING: dict[str, Fields] = {
    "nothing more": fields("POST", "/api/leads"),
    "a coding": fields("POST", "/api/leads", ("transfer-encoding", "chunked")),
    "two addresses": fields("POST", "/api/leads", ("x-forwarded-for", "198.51.100.7"), ("x-forwarded-for", "a")),
    "underscores": fields("POST", "/api/leads", ("x_forwarded_for", "a"), ("content_length", "9")),
    "fields of a connection": fields("POST", "/api/leads", ("connection", "x-forwarded-for"), ("upgrade", "h2c")),
    "other names": fields("POST", "/api/leads", ("forwarded", "for=a"), ("x-real-ip", "a")),
}


async def test_what_has_two_readings_in_http_1_is_not_made_of_http_2(door: Door) -> None:
    wrong = {}
    for name, request in HTTP2_TWO_READINGS.items():
        answer = await ask(door.balancer, request, b"ok")
        if answer.status not in {0, 400}:
            wrong[name] = answer
    assert wrong == {}
    assert door.recorder.received == []


async def test_http_2_is_sent_on_as_http_1_in_nginx_own_words(door: Door) -> None:
    for name, request in HTTP2_ONE_READING.items():
        door.recorder.received.clear()
        assert (await ask(door.balancer, request, b"ok")).status == 200, name
        sent_on_once(door.recorder.received)


async def test_many_requests_share_a_connection_of_http_2(door: Door) -> None:
    async with http2(door.balancer) as connection:
        answers = [connection.send(fields("POST", f"/api/{number}"), b"ok") for number in range(50)]
        for answer in answers:
            assert (await connection.whole(answer)).status == 200
    assert {request.line.split()[1] for request in door.recorder.received} == {b"/api/%d" % n for n in range(50)}
