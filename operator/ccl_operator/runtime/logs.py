"""Logs of the operator: one JSON object a line on stderr, for our lines and for those of the libraries alike.

Of an exception that nobody expected only its type and its frames are told: its message may quote what was read from a
Secret. Expected ones are told by whoever catches them, as ``error``.
"""

import logging
import sys
import traceback
from types import TracebackType

import structlog


def configure(level: str) -> None:
    """Set up logging for the process. ``level``: debug, info, warning or error."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.ExceptionRenderer(bare),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # kopf tells of each event it passes on; of interest only to who looks for trouble in kopf.
    logging.getLogger("kopf").setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def bare(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> list[str]:
    """An exception without its words, each line a type or ``file:line function``: the first cause first, the latest
    frame last."""
    lines = []
    for error in reversed(_chain(exc_info[1])):
        lines += [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
        ]
        lines.append(type(error).__qualname__)
    return lines


def _chain(error: BaseException) -> list[BaseException]:
    """The exception, what it came from, and so on, each once."""
    found: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in found:
        found.append(behind)
        behind = behind.__cause__ or (None if behind.__suppress_context__ else behind.__context__)
    return found
