"""Collectors of traces and of errors, as servers that speak the real protocols.

Traces: OTLP over HTTP (opentelemetry.io, "OTLP Specification", OTLP/HTTP, binary protobuf). Errors: Sentry's envelopes
(develop.sentry.dev, "Envelopes"). They keep what they got, as it came and as it reads.
"""

import gzip
import json
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

PROTOBUF: Final = "application/x-protobuf"
ENVELOPE: Final = "application/x-sentry-envelope"


@dataclass
class Collected:
    """What came in. ``raw`` is every body, unpacked; ``headers`` those of each request."""

    raw: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)


def collector_app(collected: Collected) -> web.Application:
    """Both collectors on one address."""

    async def traces(request: web.Request) -> web.Response:
        if request.content_type != PROTOBUF:
            return web.Response(status=415)
        body = await _body(request, collected)
        found = ExportTraceServiceRequest.FromString(body)
        for batch in found.resource_spans:
            collected.resources.append({a.key: a.value.string_value for a in batch.resource.attributes})
            for scope in batch.scope_spans:
                collected.spans.extend(scope.spans)
        return web.Response(body=ExportTraceServiceResponse().SerializeToString(), content_type=PROTOBUF)

    async def envelope(request: web.Request) -> web.Response:
        if "sentry_key=" not in request.headers.get("X-Sentry-Auth", ""):
            return web.Response(status=401)
        if request.content_type != ENVELOPE:
            return web.Response(status=415)
        head, *rest = (await _body(request, collected)).split(b"\n")
        for item, payload in zip(rest[::2], rest[1::2], strict=False):
            if json.loads(item).get("type") == "event":
                collected.events.append(json.loads(payload))
        return web.json_response({"id": json.loads(head).get("event_id")})

    app = web.Application()
    app.router.add_post("/v1/traces", traces)
    app.router.add_post("/api/{project}/envelope/", envelope)
    return app


async def _body(request: web.Request, collected: Collected) -> bytes:
    # aiohttp has undone Content-Encoding already when it knows it
    body = await request.read()
    body = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    collected.raw.append(body)
    collected.headers.append(dict(request.headers))
    return body
