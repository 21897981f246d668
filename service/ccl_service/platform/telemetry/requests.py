"""What is noted about every request: metrics, one log line, a span; and whose request the code in between works for."""

import re
import time
from contextvars import Token
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from ccl_service.platform.telemetry.access import AccessLog
from ccl_service.platform.telemetry.context import CURRENT, RequestContext, parse_traceparent
from ccl_service.platform.telemetry.metrics import Metrics
from ccl_service.platform.telemetry.tracing import Tracer

_TRACE_ID: Final = re.compile("[0-9a-f]{32}")


@dataclass(slots=True)
class Observed:
    """One request on its way. ``route`` is a template, never the path that was asked for."""

    method: str
    route: str
    started: float
    context: RequestContext
    token: "Token[RequestContext | None]"


@dataclass(frozen=True, slots=True)
class RequestObserver:
    """Notes requests; without an access log or a tracer it does without."""

    metrics: Metrics
    access: AccessLog | None = None
    tracer: Tracer | None = None

    def begin(self, method: str, route: str, *, request_id: str, traceparent: str | None) -> Observed:
        """A request has begun; until ``end`` it is the current one of this task."""
        parent = parse_traceparent(traceparent) if traceparent else None
        span = self.tracer.request(method, route, parent) if self.tracer else None
        trace_id = span.trace_id if span else parent.trace_id if parent else _own_trace(request_id)
        context = RequestContext(request_id, trace_id, span=span)
        return Observed(method, route, time.perf_counter(), context, CURRENT.set(context))

    def end(self, observed: Observed, status: int) -> None:
        """The answer has gone out, or the caller has."""
        seconds = time.perf_counter() - observed.started
        context = observed.context
        if context.shed:
            self.metrics.shed(observed.method, observed.route, status, context.shed)
        else:
            self.metrics.answered(observed.method, observed.route, status, seconds)
        if self.access:
            self.access.write(context, observed.method, observed.route, status, seconds)
        if context.span:
            context.span.end(status, {"ccl.request_id": context.request_id, "ccl.principal": context.principal})
        CURRENT.reset(observed.token)


def _own_trace(request_id: str) -> str:
    """A request that begins a trace gives it its own id when that has the form of one."""
    return request_id if _TRACE_ID.fullmatch(request_id) else uuid4().hex
