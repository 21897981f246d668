"""Spans to an OpenTelemetry collector, by OTLP over HTTP. Nothing here is imported before an endpoint is configured.

A span holds names of the program, ids and numbers: route templates, statement names, provider names, status codes. No
address, no body, no parameter and no text of an exception, so that there is nothing to mask at the other end.
Variables of the SDK (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, OTEL_SERVICE_NAME, …) hold as documented there.
"""

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol

from ccl_service.platform.telemetry.context import CURRENT, TraceParent

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Span as OtelSpan

SERVICE: Final = "ccl-service"
EXPORT_SECONDS: Final = 5
FLUSH_SECONDS: Final = 2.0

Attributes = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """A request being traced."""

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""

    def end(self, status: int, attributes: Attributes) -> None:
        """The answer has gone out; 5xx counts as a failure."""


class Tracer(Protocol):
    """Where spans go."""

    def request(self, method: str, route: str, parent: TraceParent | None) -> Span:
        """A request has begun."""

    def child(self, name: str, seconds: float, attributes: Attributes, *, failed: bool) -> None:
        """Something that has just ended took ``seconds``; a part of the current request when there is one."""


class OtelTracer:
    """The real one. ``close`` sends what is left."""

    def __init__(self, provider: "TracerProvider") -> None:
        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE)

    def request(self, method: str, route: str, parent: TraceParent | None) -> "OtelRequest":
        """See ``Tracer``."""
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - see the module's docstring

        attributes = {"http.request.method": method, "http.route": route}
        span = self._tracer.start_span(
            f"{method} {route}", context=_remote(parent), kind=SpanKind.SERVER, attributes=attributes
        )
        return OtelRequest(span)

    def child(self, name: str, seconds: float, attributes: Attributes, *, failed: bool) -> None:
        """See ``Tracer``."""
        from opentelemetry.context import Context  # noqa: PLC0415
        from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context  # noqa: PLC0415

        current = CURRENT.get()
        inside = current.span if current else None
        ended = time.time_ns()
        span = self._tracer.start_span(
            name,
            # an explicit, empty context: OpenTelemetry's own current span is never ours
            context=set_span_in_context(inside.span, Context()) if isinstance(inside, OtelRequest) else Context(),
            kind=SpanKind.CLIENT,
            attributes=dict(attributes),
            start_time=ended - round(seconds * 1e9),
        )
        if failed:
            span.set_status(StatusCode.ERROR)
        span.end(ended)

    def close(self) -> None:
        """Send what is left, for two seconds at most: a collector that swallows requests must not delay the way out."""
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        sending.join(FLUSH_SECONDS)


class OtelRequest:
    """A server span."""

    __slots__ = ("span",)

    def __init__(self, span: "OtelSpan") -> None:
        self.span = span

    @property
    def trace_id(self) -> str:
        """See ``Span``."""
        return f"{self.span.get_span_context().trace_id:032x}"

    def end(self, status: int, attributes: Attributes) -> None:
        """See ``Span``."""
        from opentelemetry.trace import StatusCode  # noqa: PLC0415

        self.span.set_attributes({"http.response.status_code": status, **attributes})
        if status >= 500:
            self.span.set_status(StatusCode.ERROR)
        self.span.end()


def _remote(parent: TraceParent | None) -> "Context":
    from opentelemetry.context import Context  # noqa: PLC0415
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context  # noqa: PLC0415

    if parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED if parent.sampled else TraceFlags.DEFAULT)
    remote = SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(remote), Context())


def open_tracer(endpoint: str, *, version: str, revision: str, pod: str) -> OtelTracer:
    """A tracer that exports to ``<endpoint>/v1/traces`` from a thread of its own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
    return tracer_to(exporter, version=version, revision=revision, pod=pod)


def tracer_to(exporter: "SpanExporter", *, version: str, revision: str, pod: str) -> OtelTracer:
    """A tracer to any exporter; a collector that is away costs spans, nothing else."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    own = {"service.version": version, "ccl.revision": revision, "k8s.pod.name": pod}
    # what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before ours
    told = Resource.create()
    if str(told.attributes.get("service.name", "unknown_service")).startswith("unknown_service"):
        told = told.merge(Resource({"service.name": SERVICE}))
    provider = TracerProvider(resource=Resource(own).merge(told), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return OtelTracer(provider)
