"""Connections before they are requests: slow ones, too many, too large heads."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from ccl_service.main import Service
from ccl_service.platform import body
from ccl_service.platform.server import runner

GET = b"GET /live HTTP/1.1\r\nHost: x\r\n"


@contextlib.asynccontextmanager
async def listening(service: Service, **options: Any) -> AsyncIterator[int]:
    """The port of a listener with these options."""
    serving = runner(service.app, **options)
    await serving.setup()
    try:
        await web.TCPSite(serving, "127.0.0.1", 0).start()
        yield int(serving.addresses[0][1])
    finally:
        await serving.cleanup()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """All that still comes until the other side closes."""
    return await asyncio.wait_for(reader.read(), 30)


async def answered(reader: asyncio.StreamReader) -> bytes:
    """The head of one answer, whose body is read too."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)
    return head


async def test_a_first_head_that_never_ends_is_cut_off(service: Service) -> None:
    async with listening(service, header_seconds=0.1) as port, connected(port) as (reader, writer):
        writer.write(GET + b"X-Slow: ")
        assert await rest(reader) == b""


async def test_a_later_head_that_never_ends_is_cut_off_too(service: Service) -> None:
    async with listening(service, header_seconds=0.1) as port, connected(port) as (reader, writer):
        writer.write(GET + b"\r\n")
        assert b" 200 " in await answered(reader)
        writer.write(GET + b"X-Slow: ")
        assert await rest(reader) == b""


async def test_an_idle_connection_is_no_slow_head(service: Service) -> None:
    async with listening(service, header_seconds=0.2) as port, connected(port) as (reader, writer):
        for _ in range(3):
            writer.write(GET + b"\r\n")
            assert b" 200 " in await answered(reader)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 0.4)


async def test_a_body_that_does_not_come_is_408(
    service: Service, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "BODY_SECONDS", 0.1)
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(_post("/api/leads", root, "application/json", 100) + b'{"first')
        got = await rest(reader)
        assert b" 408 " in got
        assert b"VALIDATION_007" in got


async def test_an_upload_that_stops_is_408(
    service: Service, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "PIECE_SECONDS", 0.1)
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(_post("/api/leads/import", root, "text/csv", 100_000) + b"first_name,email\n")
        assert b"VALIDATION_007" in await rest(reader)


async def test_a_body_that_ends_early_is_nobodys_failure(service: Service, root: dict[str, str]) -> None:
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(_post("/api/leads", root, "application/json", 100) + b'{"first')
        writer.write_eof()
        assert b" 500 " not in await rest(reader)


LEAD = b'{"first_name": "Ana", "email": "ana@example.com"}'


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(("case", "status"), [("a key", 400), ("no key", 401), ("no route", 404)])
async def test_a_body_that_is_not_what_its_head_says_is_the_callers_mistake_and_no_failure_of_ours(
    service: Service, root: dict[str, str], caplog: pytest.LogCaptureFixture, *, encoding: str, case: str, status: int
) -> None:
    path, headers = ("/api/nowhere" if case == "no route" else "/api/leads"), (root if case == "a key" else {})
    head = _post(path, headers, "application/json", len(LEAD))
    head = head.replace(b"\r\n", f"\r\nContent-Encoding: {encoding}\r\n".encode(), 1)
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(head + LEAD)
        got = await rest(reader)
    assert got.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in got
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert service.metrics.value("ccl_http_broken_bodies_total") == 1


@pytest.mark.parametrize(
    "head",
    [
        GET + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        GET + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n",
    ],
    ids=["field", "url", "lines"],
)
async def test_a_head_that_is_too_large_is_431_and_not_repeated(service: Service, head: bytes) -> None:
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(head)
        got = await rest(reader)
        assert got.startswith((b"HTTP/1.1 431 ", b"HTTP/1.0 431 "))
        assert b"VALIDATION_006" in got
        assert b"aaaa" not in got


@pytest.mark.parametrize(("path", "status"), [("/api/leads", 401), ("/api/nothing", 404)])
async def test_an_expectation_that_nobody_knows_is_ignored(service: Service, path: str, status: int) -> None:
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nExpect: bogus\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        head = await answered(reader)
        assert head.startswith(f"HTTP/1.1 {status} ".encode())
        assert b"application/problem+json" in head
        assert b"X-Request-ID: " in head
        assert b"bogus" not in head


async def test_a_client_that_waits_to_be_told_sends_its_body_then(service: Service, root: dict[str, str]) -> None:
    sent = b'{"first_name": "Ana", "email": "ana@example.com"}'
    head = _post("/api/leads", root, "application/json", len(sent)).replace(b"\r\n", b"\r\nExpect: 100-Continue\r\n", 1)
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(head)
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(sent)
        assert b" 201 " in await answered(reader)


async def test_one_connection_too_many_of_an_address_is_refused_until_another_ends(service: Service) -> None:
    async with listening(service, connections_per_ip=2) as port, contextlib.AsyncExitStack() as held:
        for _ in range(2):
            reader, writer = await held.enter_async_context(connected(port))
            writer.write(GET + b"\r\n")
            assert b" 200 " in await answered(reader)
        async with connected(port) as (reader, _):
            refused = await rest(reader)
            assert refused.startswith(b"HTTP/1.1 429 ")
            assert b"RATE_LIMIT_002" in refused
            assert b"Retry-After: 1\r\n" in refused
        limited = service.metrics.registry.get_sample_value("ccl_http_limited_total", {"limit": "connections"})
        assert limited == 1
        await held.aclose()
        async with asyncio.timeout(30):
            while not await _lets_in(port):
                pass


async def _lets_in(port: int) -> bool:
    async with connected(port) as (reader, writer):
        with contextlib.suppress(ConnectionError):
            writer.write(GET + b"\r\n")
            return b" 200 " in await reader.readuntil(b"\r\n\r\n")
    return False


@pytest.mark.parametrize("environ", [{"TRUST_PROXY": "127.0.0.0/8"}], indirect=True)
async def test_a_trusted_proxy_may_hold_as_many_as_it_needs(service: Service) -> None:
    async with listening(service, connections_per_ip=1) as port, contextlib.AsyncExitStack() as held:
        for _ in range(5):
            reader, writer = await held.enter_async_context(connected(port))
            writer.write(GET + b"\r\n")
            assert b" 200 " in await answered(reader)


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of every service test, with what a test adds."""
    return environ | getattr(request, "param", {})


def _post(path: str, headers: dict[str, str], content_type: str, length: int) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Type: {content_type}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


POST = b"POST /api/chat/sessions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "request_bytes",
    [
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: +2\r\n\r\n{}",
        POST + b"Content-Length: 0x2\r\n\r\n{}",
        POST + b"Content-Length : 2\r\n\r\n{}",
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        GET + b"X-Folded: a\r\n b\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\nX-Bare: lf\r\n\r\n",
        b"GET /live HTTP/1.1\r\n\x00: x\r\n\r\n",
        b"GET /live HTTP/1.1\r\nHost: x\r\nBad Name: x\r\n\r\n",
        b"GET /live HTTP/9.9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=[
        "length and chunks",
        "two lengths",
        "signed length",
        "hexadecimal length",
        "blank before colon",
        "unknown coding",
        "chunks not last",
        "folded line",
        "bare line feed",
        "control character as a name",
        "blank in a name",
        "no version",
        "tls",
        "http 2",
    ],
)
async def test_what_two_servers_could_read_differently_is_read_by_neither(
    service: Service, request_bytes: bytes
) -> None:
    async with listening(service) as port, connected(port) as (reader, writer):
        writer.write(request_bytes + GET + b"\r\n")
        got = await rest(reader)
        assert b" 200 " not in got
        assert b" 201 " not in got
        assert got.count(b"HTTP/1.") == 1
        assert b"VALIDATION_002" in got


async def test_hundreds_of_slow_clients_delay_nobody_and_are_all_cut_off(service: Service) -> None:
    async with listening(service, header_seconds=2, connections_per_ip=0) as port, contextlib.AsyncExitStack() as held:
        slow = [await held.enter_async_context(connected(port)) for _ in range(300)]
        for _, writer in slow:
            writer.write(GET + b"X-Slow: ")
        async with connected(port) as (reader, writer):
            writer.write(GET + b"\r\n")
            assert b" 200 " in await answered(reader)
        assert [await rest(reader) for reader, _ in slow] == [b""] * len(slow)
