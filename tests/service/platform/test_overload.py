"""Under overload: who is answered, what the others are told, and that a connection survives it."""

import asyncio
import contextlib
import itertools
import json
import re
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.platform import server
from ccl_service.platform.assembly import Service
from ccl_service.platform.http import PHASE
from ccl_service.platform.middleware import SECURITY_HEADERS
from ccl_service.platform.shedding import FULL_WAIT_SECONDS, Shedder
from tests.service.conftest import ROOT_KEY
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]


class Pressure:
    """How long the queue is made to look."""

    seconds = 0.0


@pytest.fixture
def pressure(monkeypatch: pytest.MonkeyPatch) -> Pressure:
    found = Pressure()
    monkeypatch.setattr(Shedder, "wait", property(lambda _: found.seconds))
    return found


class Connection:
    """A keep-alive connection that sees every byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, line: str, *headers: str, body: str = "") -> tuple[int, dict[str, str], bytes]:
        lines = [f"{line} HTTP/1.1", "Host: x", f"X-API-Key: {ROOT_KEY}", *headers]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        return await self.answer()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            return int(head[0].split(" ")[1]), headers, await self._reader.readexactly(int(headers["Content-Length"]))


@contextlib.asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_refusal_is_a_problem_with_the_headers_of_every_answer(client: Client, pressure: Pressure) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        status, headers, body = await connection.ask("GET /api/leads")
    problem = json.loads(body)
    assert (status, problem["code"], problem["retryable"]) == (503, "SYSTEM_003", True)
    assert problem["request_id"] == headers["X-Request-ID"]
    assert headers["Retry-After"] == "1"
    assert SECURITY_HEADERS.items() <= headers.items()
    assert "Strict-Transport-Security" not in headers


async def test_every_refusal_has_an_id_of_its_own(client: Client, pressure: Pressure) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        ids = {(await connection.ask("GET /api/leads"))[1]["X-Request-ID"] for _ in range(5)}
    assert len(ids) == 5


@pytest.mark.parametrize("more", [(), ("Origin: https://cars.example.com",)], ids=["from its bytes", "when routed"])
async def test_a_refusal_keeps_an_id_of_the_callers_in_the_right_form(
    client: Client, pressure: Pressure, more: tuple[str, ...]
) -> None:
    pressure.seconds = 10.0
    ids = ("abcd.123", "x-REQ_1." * 8)
    async with connected(client) as connection:
        for name, said in itertools.product(("X-Request-ID: ", "x-request-id:"), ids):
            status, headers, body = await connection.ask("GET /api/leads", name + said, *more)
            assert (status, headers["X-Request-ID"], json.loads(body)["request_id"]) == (503, said, said)


@pytest.mark.parametrize("said", ["", "short", "x" * 65, "two words", 'a-quote-"', "a-row-of_\xe4", "ok-so-far\0"])
async def test_a_refusal_repeats_no_id_in_another_form(client: Client, pressure: Pressure, said: str) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        status, headers, _ = await connection.ask("GET /api/leads", f"X-Request-ID: {said}")
    assert status == 503
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-ID"])


async def test_a_body_names_no_request_id_of_its_refusal(client: Client, pressure: Pressure) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        _, headers, _ = await connection.ask("POST /api/leads", body="\r\nX-Request-ID: of-the-body\r\n")
    assert headers["X-Request-ID"] != "of-the-body"


async def test_a_connection_goes_on_through_refusals(client: Client, pressure: Pressure) -> None:
    lead = json.dumps({"first_name": "Ana", "email": "ana@example.org"})
    async with connected(client) as connection:
        assert (await connection.ask("GET /api/leads"))[0] == 200
        pressure.seconds = 10.0
        assert (await connection.ask("POST /api/leads", body=lead))[0] == 503
        assert (await connection.ask("GET /api/leads"))[0] == 503
        assert (await connection.ask("GET /live"))[0] == 200
        pressure.seconds = 0.0
        status, _, body = await connection.ask("GET /api/leads")
        assert (status, json.loads(body)["items"]) == (200, [])
        assert (await connection.ask("POST /api/leads", body=lead))[0] == 201


async def test_a_connection_that_has_sent_a_body_is_refused_like_a_new_one(client: Client, pressure: Pressure) -> None:
    """From its bytes: the way through parser and routes would cost several times as much, and shows in the headers."""
    lead = json.dumps({"first_name": "Ana", "email": "ana@example.org"})
    async with connected(client) as used, connected(client) as new:
        assert (await new.ask("GET /live"))[0] == 200
        assert (await used.ask("POST /api/leads", body=lead))[0] == 201
        pressure.seconds = 10.0
        (_, ours, _), (_, theirs, _) = [await one.ask("GET /api/leads") for one in (used, new)]
    assert ours.keys() == theirs.keys()


async def test_a_connection_is_closed_when_nothing_follows_the_last_refusal(
    client: Client, pressure: Pressure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "KEEPALIVE_SECONDS", 1.5)
    pressure.seconds = 10.0
    async with connected(client) as connection:
        assert (await connection.ask("GET /live"))[0] == 200  # which aiohttp's own time, the usual one, is for
        began = time.monotonic()
        while time.monotonic() - began < 2.0:
            assert (await connection.ask("GET /api/leads"))[0] == 503
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.IncompleteReadError):
            await connection.answer()


@pytest.mark.parametrize("seconds", [0.24, 10.0])
async def test_probes_are_answered_whatever_the_pressure(client: Client, pressure: Pressure, seconds: float) -> None:
    pressure.seconds = seconds
    async with connected(client) as connection:
        for path in ("/live", "/ready", "/api/monitoring/live", "/health"):
            assert (await connection.ask(f"GET {path}"))[0] == 200


async def test_intake_goes_on_while_reads_wait(client: Client, pressure: Pressure) -> None:
    pressure.seconds = 0.24
    async with connected(client) as connection:
        for number in range(5):
            lead = json.dumps({"first_name": "Ana", "email": f"ana{number}@example.org"})
            assert (await connection.ask("POST /api/leads", body=lead))[0] == 201
            assert (await connection.ask("GET /api/leads"))[0] == 503


async def test_what_is_not_plain_is_refused_by_the_middleware_with_its_headers(
    client: Client, pressure: Pressure
) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        status, headers, _ = await connection.ask("GET /api/leads", "Origin: https://cars.example.com")
    assert (status, headers["Access-Control-Allow-Origin"]) == (503, "https://cars.example.com")


@pytest.mark.parametrize("more", [(), ("Origin: https://cars.example.com",)], ids=["from its bytes", "when routed"])
async def test_a_refusal_counts_as_an_answer_but_not_as_a_fast_one(
    client: Client, service: Service, pressure: Pressure, more: tuple[str, ...]
) -> None:
    pressure.seconds = 10.0
    async with connected(client) as connection:
        assert (await connection.ask("GET /api/leads", *more))[0] == 503
    named = {"method": "GET", "route": "/api/leads"}
    assert service.metrics.value("ccl_http_requests_total", status="503", **named) == 1
    assert service.metrics.value("ccl_http_shed_total", priority="read") == 1
    assert service.metrics.value("ccl_http_request_seconds_count", **named) == 0


async def test_a_share_is_judged_once_however_a_request_comes(
    client: Client, service: Service, pressure: Pressure
) -> None:
    pressure.seconds = (0.60 + 0.75) / 2 * FULL_WAIT_SECONDS  # half of the reads
    async with connected(client) as connection:
        statuses = [(await connection.ask("GET /api/leads"))[0] for _ in range(20)]
    assert statuses.count(200) in {9, 10}


async def test_bytes_of_a_body_that_look_like_a_request_are_not_answered(
    client: Client, service: Service, pressure: Pressure
) -> None:
    async def begun() -> bool:
        return service.app[PHASE].in_flight > 0

    smuggled = b"GET /api/leads HTTP/1.1\r\nHost: x\r\n\r\n"
    head = f"POST /api/leads HTTP/1.1\r\nHost: x\r\nX-API-Key: {ROOT_KEY}\r\nContent-Type: application/json\r\n"
    async with connected(client) as connection:
        assert (await connection.ask("GET /live"))[0] == 200
        await connection.send(f"{head}Content-Length: {len(smuggled)}\r\n\r\n".encode())
        await eventually(begun, within=30)  # the head has to arrive as a piece of its own
        pressure.seconds = 10.0
        await connection.send(smuggled)
        assert (await connection.answer())[0] == 400
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connection.answer()


async def test_behind_a_trusted_proxy_a_refusal_over_https_says_so(client: Client, pressure: Pressure) -> None:
    from dataclasses import replace

    from ccl_service.platform.proxy import parse_trust
    from ccl_service.platform.server import ProblemServer

    server = client.server.runner.server  # type: ignore[union-attr]
    assert isinstance(server, ProblemServer)
    server.doorman = replace(server.doorman, trust=parse_trust("1"))
    pressure.seconds = 10.0
    async with connected(client) as connection:
        _, headers, _ = await connection.ask("GET /api/leads", "X-Forwarded-Proto: https")
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
