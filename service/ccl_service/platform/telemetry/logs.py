"""JSON lines on stderr, from the service and from libraries alike, each judged by ``redaction`` before it goes out."""

import json
import logging
import sys
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, Final, TextIO

import structlog

from ccl_service.platform.telemetry import redaction
from ccl_service.platform.telemetry.context import CURRENT

LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40}

#: Told of every exception that is logged at level error, with the line's fields: an error tracker.
Reporter = Callable[[BaseException, MutableMapping[str, Any]], None]


class LineSink:
    """Where lines go. A full disk or a reader that went away costs lines, never a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        #: Lines that could not be written.
        self.lost = 0

    def write_line(self, line: str) -> None:
        """Write one line, or several joined by newlines."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self.lost += line.count("\n") + 1

    # what structlog calls on a logger
    msg = debug = info = warning = error = critical = exception = write_line


def configure_logging(level: str, *, report: Reporter | None = None, stream: TextIO | None = None) -> LineSink:
    """Set structlog and the standard library's loggers up, at ``level`` and above; the latter from warnings on."""
    sink = LineSink(stream or sys.stderr)
    number = LEVELS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *_shared(report),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=True,
    )
    handler = _Handler(sink, [*_shared(report), _render])
    logging.root.handlers = [handler]
    logging.root.setLevel(max(number, logging.WARNING))
    return sink


def current_sink() -> LineSink:
    """Where ``configure_logging`` sends lines; stderr before it was called."""
    sink = structlog.get_config()["logger_factory"]()
    return sink if isinstance(sink, LineSink) else LineSink(sys.stderr)


class _Handler(logging.Handler):
    """Takes what libraries log. Their sentences are written without the values that they would put in."""

    def __init__(self, sink: LineSink, processors: Sequence[Any]) -> None:
        super().__init__()
        self._sink, self._processors = sink, processors

    def emit(self, record: logging.LogRecord) -> None:
        event: Any = {
            # asyncio puts the repr of what failed on the lines below the first
            "event": str(record.msg).partition("\n")[0],
            "logger": record.name,
            "level": record.levelname.lower(),
            "exc_info": record.exc_info,
        }
        for process in self._processors:
            event = process(None, "", event)
        self._sink.write_line(event)


Event = MutableMapping[str, Any]


def _shared(report: Reporter | None) -> list[Any]:
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    return [stamp, _request, *([_reporting(report)] if report else []), _exception, _redacted]


def _request(_: object, __: str, event: Event) -> Event:
    """Whose request the line belongs to, when it belongs to one."""
    context = CURRENT.get()
    if context is not None:
        event.setdefault("request_id", context.request_id)
        event["trace_id"] = context.trace_id
        event["principal"] = context.principal
        event["principal_id"] = context.principal_id
    return event


def _reporting(report: Reporter) -> Callable[[object, str, Event], Event]:
    def tell(_: object, __: str, event: Event) -> Event:
        exc = _exc_of(event)
        if exc is not None and event.get("level") in {"error", "critical"}:
            report(exc, redaction.fields({k: v for k, v in event.items() if k != "exc_info"}))
        return event

    return tell


def _exception(_: object, __: str, event: Event) -> Event:
    exc = _exc_of(event)
    event.pop("exc_info", None)
    if exc is not None:
        event["exception"] = redaction.describe(exc)
    return event


def _exc_of(event: Event) -> BaseException | None:
    match event.get("exc_info"):
        case BaseException() as exc:
            return exc
        case (_, BaseException() as exc, _):
            return exc
        case True:
            return sys.exc_info()[1]
    return None


def _redacted(_: object, __: str, event: Event) -> Event:
    # describe() has judged the exception already; its frames are places in code
    exception = event.pop("exception", None)
    shown = redaction.fields(event)
    if exception is not None:
        shown["exception"] = exception
    return shown


def _render(_: object, __: str, event: Event) -> str:
    return json.dumps(event, separators=(",", ":"), default=lambda _: redaction.MASK)
