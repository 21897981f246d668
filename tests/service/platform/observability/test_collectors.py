"""Traces and error reports, as their collectors get them."""

import asyncio
import io
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import structlog
from aiohttp.test_utils import TestClient
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from ccl_service.main import open_service
from ccl_service.platform.config import load_settings
from ccl_service.platform.dependencies import Dependencies, Verdict
from ccl_service.platform.telemetry import Metrics, configure_logging
from ccl_service.platform.telemetry.context import CURRENT, RequestContext
from ccl_service.platform.telemetry.errors import open_reporter
from ccl_service.platform.telemetry.tracing import EXPORT_SECONDS, open_tracer
from hack.fakes.collectors import Collected, collector_app
from hack.fakes.server import serving
from tests.service.conftest import ServiceServer
from tests.service.polling import eventually

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PERSON = {
    "first_name": "Gwendolyn",
    "last_name": "Featherstonehaugh",
    "email": "gwendolyn.f@example.com",
    "phone": "+14155550132",
    "source": "api",
}


@pytest.fixture
def collected() -> Collected:
    return Collected()


@pytest.fixture
async def collector(collected: Collected) -> AsyncIterator[str]:
    """The URL of both collectors."""
    async with serving(collector_app(collected), host="127.0.0.1", port=0) as url:
        yield url


async def traced(environ: dict[str, str], endpoint: str, *requests: tuple[str, str, dict[str, Any]]) -> list[int]:
    """The statuses of these requests to a service that exports to ``endpoint``, which it has done when this returns."""
    settings = load_settings({**environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint})
    statuses = []
    async with open_service(settings) as service, TestClient(ServiceServer(service.app)) as client:
        for method, path, options in requests:
            async with client.request(method, path, **options) as answer:
                statuses.append(answer.status)
    return statuses


def attributes(given: Any) -> dict[str, Any]:
    found: list[KeyValue] = list(given)
    return {a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in found}


async def test_a_request_is_a_span_of_its_callers_trace_with_its_statements_below(
    collector: str, collected: Collected, environ: dict[str, str], root: dict[str, str]
) -> None:
    headers = {**root, "traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert await traced(environ, collector, ("GET", "/api/leads?limit=1", {"headers": headers})) == [200]
    (server,) = [one for one in collected.spans if one.kind == Span.SPAN_KIND_SERVER]
    assert server.name == "GET /api/leads"
    assert server.trace_id.hex() == TRACE
    assert server.parent_span_id.hex() == SPAN
    shown = attributes(server.attributes)
    assert (shown["http.route"], shown["http.response.status_code"]) == ("/api/leads", 200)
    below = [one for one in collected.spans if one.parent_span_id == server.span_id]
    assert below
    for one in below:
        assert one.trace_id == server.trace_id
        assert attributes(one.attributes)["db.system.name"] == "postgresql"
    assert any(one.name.startswith("db lead") for one in below)
    assert collected.resources[0]["service.name"] == "ccl-service"
    assert collected.resources[0]["k8s.pod.name"] == "pod-1"


async def test_a_caller_without_a_trace_begins_one(
    collector: str, collected: Collected, environ: dict[str, str]
) -> None:
    await traced(environ, collector, ("GET", "/live", {}), ("GET", "/live", {}))
    servers = [one for one in collected.spans if one.kind == Span.SPAN_KIND_SERVER]
    assert len({one.trace_id for one in servers}) == 2
    assert {bytes(one.parent_span_id) for one in servers} == {b""}


async def test_a_caller_that_does_not_sample_is_not_exported(
    collector: str, collected: Collected, environ: dict[str, str]
) -> None:
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-00"}
    await traced(environ, collector, ("GET", "/live", {"headers": headers}))
    assert [one for one in collected.spans if one.kind == Span.SPAN_KIND_SERVER] == []


async def test_an_export_holds_nothing_of_a_person_and_no_key(
    collector: str, collected: Collected, environ: dict[str, str], root: dict[str, str]
) -> None:
    statuses = await traced(
        environ,
        collector,
        ("POST", "/api/leads", {"json": PERSON, "headers": root}),
        ("GET", "/api/leads?q=gwendolyn.f@example.com", {"headers": root}),
        ("POST", "/api/leads", {"json": {**PERSON, "email": "not one, Gwendolyn"}, "headers": root}),
        ("GET", "/Gwendolyn/Featherstonehaugh", {}),
    )
    assert statuses == [201, 200, 422, 404]
    sent = b"".join(collected.raw)
    assert b"POST /api/leads" in sent
    for text in ("Gwendolyn", "gwendolyn", "Featherstonehaugh", "4155550132", root["Authorization"][7:]):
        assert text.encode() not in sent


async def test_a_collector_that_is_away_fails_no_request(environ: dict[str, str], unused_tcp_port: int) -> None:
    assert await traced(environ, f"http://127.0.0.1:{unused_tcp_port}", ("GET", "/live", {})) == [200]


async def test_a_collector_that_swallows_requests_does_not_delay_the_end(environ: dict[str, str]) -> None:
    held: list[asyncio.StreamWriter] = []
    let_go = False

    async def swallow(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        if let_go:
            writer.transport.abort()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tracer = open_tracer(f"http://127.0.0.1:{port}", version="1", revision="r", pod="p")
    for _ in range(10):
        tracer.child("db x", 0.001, {}, failed=False)
    started = time.monotonic()
    await asyncio.to_thread(tracer.close)
    assert time.monotonic() - started < 4 * EXPORT_SECONDS
    let_go = True
    for writer in held:
        writer.transport.abort()

    async def quiet() -> bool:
        return all(thread.name != "spans" for thread in threading.enumerate())

    await eventually(quiet, within=60)
    server.close()


async def test_a_call_of_a_provider_is_a_span_below_the_request_and_a_failed_one_says_so(
    collector: str, collected: Collected
) -> None:
    tracer = open_tracer(collector, version="1", revision="r", pod="p")
    dependencies = Dependencies(Metrics(), time.monotonic, tracer)
    request = tracer.request("POST", "/api/chat", None)
    token = CURRENT.set(RequestContext("req-12345678", request.trace_id, span=request))
    dependencies.add("openai").begin().finish("timeout", Verdict.FAILS)
    CURRENT.reset(token)
    dependencies.add("mailgun").begin().finish("accepted", Verdict.WORKS)
    request.end(202, {})
    await asyncio.to_thread(tracer.close)
    spans = {one.name: one for one in collected.spans}
    assert spans["openai"].parent_span_id == spans["POST /api/chat"].span_id
    assert spans["openai"].status.code == Status.STATUS_CODE_ERROR
    assert attributes(spans["openai"].attributes)["ccl.outcome"] == "timeout"
    assert spans["mailgun"].parent_span_id == b""
    assert spans["mailgun"].status.code == Status.STATUS_CODE_UNSET


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers, logging.root.level
    yield
    logging.root.handlers, logging.root.level = handlers, level
    structlog.reset_defaults()


async def test_an_error_is_reported_with_its_places_and_tags_and_nothing_personal(
    collector: str, collected: Collected, logging_as_before: None
) -> None:
    dsn = collector.replace("http://", "http://public-key@") + "/42"
    reporter = open_reporter(dsn, environment="staging", version="1.2.3", pod="pod-1")
    configure_logging("warn", report=reporter, stream=io.StringIO())
    log = structlog.get_logger("x")
    secret_local = "Featherstonehaugh"
    try:
        try:
            raise KeyError("Gwendolyn", secret_local)
        except KeyError as exc:
            raise ValueError("gwendolyn.f@example.com") from exc
    except ValueError as exc:
        log.error("request failed", request_id="req-12345678", lead="Gwendolyn", exc_info=exc)
    await asyncio.to_thread(reporter.close)
    (event,) = collected.events
    assert (event["environment"], event["release"], event["server_name"]) == ("staging", "1.2.3", "pod-1")
    assert [one["type"] for one in event["exception"]["values"]] == ["KeyError", "ValueError"]
    (frame,) = event["exception"]["values"][1]["stacktrace"]["frames"]
    assert frame["function"] == "test_an_error_is_reported_with_its_places_and_tags_and_nothing_personal"
    assert frame["lineno"] > 0
    assert event["tags"]["request_id"] == "req-12345678"
    sent = b"".join(collected.raw)
    for text in (b"Gwendolyn", b"gwendolyn", b"Featherstonehaugh"):
        assert text not in sent


async def test_a_report_that_nobody_takes_costs_nothing(unused_tcp_port: int, logging_as_before: None) -> None:
    reporter = open_reporter(f"http://key@127.0.0.1:{unused_tcp_port}/1", environment="x", version="1", pod="")
    configure_logging("warn", report=reporter, stream=io.StringIO())
    structlog.get_logger("x").error("failed", exc_info=ValueError())
    await asyncio.to_thread(reporter.close)
