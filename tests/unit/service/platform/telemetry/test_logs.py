"""Lines as they leave the process."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any, TextIO

import pytest
import structlog

from ccl_service.platform.telemetry.access import AccessLog
from ccl_service.platform.telemetry.context import CURRENT, RequestContext
from ccl_service.platform.telemetry.logs import LineSink, configure_logging, current_sink
from ccl_service.platform.telemetry.metrics import Metrics
from ccl_service.platform.telemetry.redaction import MASK

LEAKS = ["jane.roe@example.com", "+1 415 555 0132", "sk-proj-abcdefghijklmnop", "Jane Roe"]


@pytest.fixture
def stream() -> Iterator[TextIO]:
    """Logging as in production, into memory; everything is as before afterwards."""
    handlers, level = logging.root.handlers, logging.root.level
    out = io.StringIO()
    configure_logging("info", stream=out)
    try:
        yield out
    finally:
        logging.root.handlers, logging.root.level = handlers, level
        structlog.reset_defaults()


def lines(stream: TextIO) -> list[dict[str, Any]]:
    assert isinstance(stream, io.StringIO)
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_level_time_and_its_fields(stream: TextIO) -> None:
    structlog.get_logger("x").warning("work failed", action="work.failed", table="sends", took_ms=12)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["table"], line["took_ms"]) == ("work failed", "warning", "sends", 12)
    assert line["timestamp"].endswith("Z")


def test_a_line_inside_of_a_request_tells_which_and_whose(stream: TextIO) -> None:
    token = CURRENT.set(RequestContext("req-12345678", "a" * 32, "key", "k-1"))
    structlog.get_logger("x").info("lead accepted")
    CURRENT.reset(token)
    structlog.get_logger("x").info("outside")
    inside, outside = lines(stream)
    assert (inside["request_id"], inside["trace_id"]) == ("req-12345678", "a" * 32)
    assert (inside["principal"], inside["principal_id"]) == ("key", "k-1")
    assert "request_id" not in outside


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_leaks_through_a_field(stream: TextIO, leak: str) -> None:
    structlog.get_logger("x").error("failed", lead=leak, data={"email": leak}, many=[leak], obj=object(), size=3)
    (line,) = lines(stream)
    assert leak not in json.dumps(line)
    assert (line["lead"], line["data"], line["many"], line["size"]) == (MASK, MASK, [MASK], 3)


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_leaks_through_an_exception(stream: TextIO, leak: str) -> None:
    try:
        try:
            raise KeyError(leak)
        except KeyError as exc:
            raise RuntimeError(f"cannot write {leak}") from exc
    except RuntimeError as exc:
        structlog.get_logger("x").error("failed", exc_info=exc)
        structlog.get_logger("x").exception("failed again")
    for line in lines(stream):
        assert leak not in json.dumps(line)
        assert [one["type"] for one in line["exception"]] == ["builtins.RuntimeError", "builtins.KeyError"]


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_leaks_through_a_library(stream: TextIO, leak: str) -> None:
    logger = logging.getLogger("some.library")
    logger.warning("cannot encode %s", leak)
    try:
        raise ValueError(leak)
    except ValueError:
        logger.exception("failed on %r", leak)
    first, second = lines(stream)
    assert leak not in json.dumps([first, second])
    assert (first["event"], first["logger"]) == ("cannot encode %s", "some.library")
    assert second["exception"][0]["type"] == "builtins.ValueError"


async def test_nothing_leaks_through_a_task_that_nobody_waits_for(stream: TextIO) -> None:
    async def fail() -> None:
        raise ValueError("Jane Roe")

    loop = asyncio.get_running_loop()
    task = loop.create_task(fail(), name="a task")
    await asyncio.wait([task])
    loop.call_exception_handler(
        {"message": "Task exception was never retrieved", "future": task, "exception": task.exception()}
    )
    (line,) = lines(stream)
    assert line["event"] == "Task exception was never retrieved"
    assert line["exception"][0]["type"] == "builtins.ValueError"
    assert "Jane" not in json.dumps(line)


@pytest.mark.parametrize("leak", LEAKS[:3])
def test_nothing_that_can_be_recognised_leaks_through_the_sentence(stream: TextIO, leak: str) -> None:
    structlog.get_logger("x").error(f"cannot mail {leak} now")
    logging.getLogger("lib").error(f"cannot mail {leak} now")
    assert leak not in json.dumps(lines(stream))


def test_lines_below_the_level_are_not_written(stream: TextIO) -> None:
    structlog.get_logger("x").debug("hidden")
    logging.getLogger("lib").info("hidden")
    assert lines(stream) == []


def test_errors_with_an_exception_are_reported_with_what_the_line_may_show() -> None:
    told: list[tuple[BaseException, dict[str, Any]]] = []
    handlers, level = logging.root.handlers, logging.root.level
    configure_logging("warn", report=lambda exc, line: told.append((exc, dict(line))), stream=io.StringIO())
    try:
        error = ValueError("Jane")
        structlog.get_logger("x").error("failed", worker="sends", lead="Jane", exc_info=error)
        structlog.get_logger("x").error("no exception")
        structlog.get_logger("x").warning("only a warning", exc_info=error)
    finally:
        logging.root.handlers, logging.root.level = handlers, level
        structlog.reset_defaults()
    ((exc, line),) = told
    assert exc is error
    assert (line["event"], line["worker"], line["lead"]) == ("failed", "sends", MASK)


class FullDisk(io.StringIO):
    def write(self, text: str, /) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_costs_lines_and_raises_nothing() -> None:
    sink = LineSink(FullDisk())
    sink.write_line("one")
    sink.write_line("two\nthree")
    assert sink.lost == 3


def test_lost_lines_are_counted_in_the_metrics() -> None:
    handlers, level = logging.root.handlers, logging.root.level
    configure_logging("warn", stream=FullDisk())
    try:
        metrics = Metrics()
        metrics.count_from("ccl_log_lines_lost", lambda: current_sink().lost)
        structlog.get_logger("x").warning("one")
        logging.getLogger("lib").warning("two")
        assert metrics.value("ccl_log_lines_lost_total") == 2
    finally:
        logging.root.handlers, logging.root.level = handlers, level
        structlog.reset_defaults()


async def test_access_lines_are_json_and_are_written_together() -> None:
    out = io.StringIO()
    access = AccessLog(LineSink(out), wall=lambda: 1_700_000_000.25)
    context = RequestContext("req-12345678", "b" * 32, "key", "k-1")
    access.write(context, "GET", "/api/leads/{id}", 200, 0.01234)
    access.write(context, "(any)", "(none)", 404, 0.5)
    assert out.getvalue() == ""
    await asyncio.sleep(0)
    first, second = lines(out)
    assert first == {
        "event": "request",
        "level": "info",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "action": "http:request:answered",
        "request_id": "req-12345678",
        "trace_id": "b" * 32,
        "principal": "key",
        "principal_id": "k-1",
        "method": "GET",
        "route": "/api/leads/{id}",
        "status": 200,
        "took_ms": 12.34,
    }
    assert second["status"] == 404


async def test_many_access_lines_are_not_held_back_without_end() -> None:
    out = io.StringIO()
    access = AccessLog(LineSink(out))
    for _ in range(1000):
        access.write(RequestContext("req-12345678", "b" * 32), "GET", "/live", 200, 0.001)
    assert len(lines(out)) == 1000
