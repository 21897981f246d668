"""A real process with everything switched on: its lines, its spans, its reports, its way out."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import aiohttp
import pytest

from hack.fakes.collectors import Collected, collector_app
from hack.fakes.server import serving
from tests.service.processes import running, until_status

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
async def collector(collected: Collected) -> AsyncIterator[str]:
    async with serving(collector_app(collected), host="127.0.0.1", port=0) as url:
        yield url


async def test_one_request_is_found_in_lines_and_spans_by_the_callers_trace(
    collector: str,
    collected: Collected,
    environ: dict[str, str],
    root: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    switched_on = environ | {
        "LOG_LEVEL": "info",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "SENTRY_DSN": collector.replace("http://", "http://key@") + "/1",
        "DRAIN_DELAY_MS": "0",
    }
    headers = {**root, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "X-Request-ID": "from-the-caller"}
    async with running(switched_on) as process, aiohttp.ClientSession(process.url) as session:
        await until_status(session, "/live", 200)
        person = {"first_name": "Gwendolyn", "email": "gwendolyn@example.com", "source": "api"}
        async with session.post("/api/leads", json=person, headers=headers) as answer:
            assert answer.status == 201
        process.handle.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.handle.wait() == 0
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines()]
    (line,) = [one for one in lines if one.get("request_id") == "from-the-caller"]
    assert (line["trace_id"], line["route"], line["status"]) == (TRACE, "/api/leads", 201)
    assert (line["principal"], line["method"]) == ("root", "POST")
    spans = {one.name for one in collected.spans if one.trace_id.hex() == TRACE}
    assert {"POST /api/leads", "db lead_intake"} <= spans
    everything = text.encode() + b"".join(collected.raw)
    assert b"wendolyn" not in everything
