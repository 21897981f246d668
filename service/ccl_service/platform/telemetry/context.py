"""Which request the running code works for: what every log line, error report and span of it says. Pure.

Trace ids follow W3C Trace Context (https://www.w3.org/TR/trace-context/): a caller's ``traceparent`` is taken over,
else the request starts a trace of its own, with or without an exporter.
"""

import re
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ccl_service.platform.telemetry.tracing import Span

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16


@dataclass(frozen=True, slots=True)
class TraceParent:
    """Who called us: ids in lower-case hexadecimal."""

    trace_id: str
    span_id: str
    sampled: bool


@dataclass(slots=True)
class RequestContext:
    """One request. The principal is known once the caller has been let in; ``shed`` is the class of one turned away."""

    request_id: str
    trace_id: str
    principal: str = "public"
    principal_id: str = ""
    shed: str = ""
    span: "Span | None" = None


#: None outside of requests.
CURRENT: Final[ContextVar[RequestContext | None]] = ContextVar("ccl_request", default=None)


def parse_traceparent(header: str) -> TraceParent | None:
    """None for what is not usable: another form, version ff, version 00 with more fields, ids of zeros."""
    found = _TRACEPARENT.fullmatch(header.strip()) if len(header) <= 512 else None
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & 1))
