"""Logs and metrics. One structured line per request, one set of metrics per process; neither holds personal data."""

import logging
import sys
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.process_collector import ProcessCollector

_LEVELS: Final = {"debug": 10, "info": 20, "warn": 30, "error": 40}
#: Latencies kept per route for percentiles.
RECENT: Final = 1024


def configure_logging(level: str) -> None:
    """JSON lines on stderr, from structlog and from libraries' own loggers alike, at ``level`` and above."""
    number = _LEVELS[level]
    stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            stamp,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            stamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.root.handlers = [handler]
    logging.root.setLevel(max(number, logging.WARNING))


class Metrics:
    """Everything that this process counts. One instance per application; no process-wide registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "ccl_http_requests",
            "Requests by route template and status",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ccl_http_request_seconds",
            "Time from the first byte of a request to the end of its answer",
            ["method", "route"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        self.in_flight = Gauge("ccl_http_in_flight", "Requests being answered", registry=self.registry)
        self.limited = Counter("ccl_http_limited", "Requests refused by a limit", ["limit"], registry=self.registry)
        self.limit_sync_failures = Counter(
            "ccl_limit_sync_failures",
            "Reconciliations with Redis that failed; counting went on locally",
            registry=self.registry,
        )
        self.key_read_failures = Counter(
            "ccl_key_read_failures",
            "Key files that could not be used; the last good set stayed",
            ["key"],
            registry=self.registry,
        )
        self.db_in_use = Gauge("ccl_db_connections_in_use", "Pool connections lent out", registry=self.registry)
        self.db_size = Gauge("ccl_db_connections_max", "Pool connections at most", registry=self.registry)
        self.worker_failures = Counter(
            "ccl_worker_failures",
            "Background loops that failed and were started again",
            ["worker"],
            registry=self.registry,
        )
        self._recent: dict[tuple[str, str], deque[float]] = {}
        self._errors: dict[tuple[str, str], int] = {}
        self._total: dict[tuple[str, str], int] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one answered request."""
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)
        at = (method, route)
        self._recent.setdefault(at, deque(maxlen=RECENT)).append(seconds)
        self._total[at] = self._total.get(at, 0) + 1
        if status >= 500:
            self._errors[at] = self._errors.get(at, 0) + 1

    def performance(self) -> list[Mapping[str, Any]]:
        """Per route of this process: requests, 5xx errors, and percentiles in ms of the last ``RECENT`` requests."""
        return [
            {
                "method": method,
                "route": route,
                "requests": self._total[method, route],
                "errors": self._errors.get((method, route), 0),
                **{f"p{p}_ms": percentile_ms(recent, p) for p in (50, 95, 99)},
            }
            for (method, route), recent in sorted(self._recent.items())
        ]


def percentile_ms(seconds: "deque[float]", percent: int) -> float:
    """The nearest-rank percentile in milliseconds; 0 when empty."""
    ordered = sorted(seconds)
    if not ordered:
        return 0.0
    rank = max(1, -(-percent * len(ordered) // 100))
    return round(ordered[rank - 1] * 1000, 3)
