"""What surrounds every handler: request id, limit, policy, errors as problems, headers, CORS, metrics, one log line.

One function instead of a chain, because each link of a chain costs a coroutine per request.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import urandom
from typing import Any, Final

import structlog
from aiohttp import web
from aiohttp.abc import AbstractMatchInfo
from aiohttp.typedefs import Handler, Middleware

from ccl_service.platform.admission import CLIENT, Admission
from ccl_service.platform.auth import PRINCIPAL, Principal
from ccl_service.platform.config import Settings
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.phase import Phase
from ccl_service.platform.problems import (
    CONTENT_TYPE,
    CclError,
    Malformed,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    RateLimited,
    TooLarge,
    TooSlow,
    as_document,
)
from ccl_service.platform.proxy import client_subject, parse_address
from ccl_service.platform.replicas import Replicas
from ccl_service.platform.route import ROUTE, Route
from ccl_service.platform.shedding import COUNTED, Shedder
from ccl_service.platform.telemetry.context import CURRENT
from ccl_service.platform.telemetry.requests import RequestObserver

REQUEST_ID: Final = web.RequestKey("request_id", str)
_EXTRA: Final = web.RequestKey("extra_headers", dict)
#: An id of the caller's that is kept.
GIVEN_ID: Final = re.compile(r"^[A-Za-z0-9._-]{8,64}$")

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "1; mode=block",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Server": "ccl",
}
HSTS: Final = "max-age=31536000"
EXPOSED: Final = "X-Request-ID, RateLimit, RateLimit-Policy, Retry-After"
ALLOWED_HEADERS: Final = "Authorization, X-API-Key, Content-Type, Idempotency-Key, Last-Event-ID, X-Request-ID"

#: What metrics and the log say when the caller hangs up before the answer has ended (nginx's code for it).
HUNG_UP: Final = 499

#: Methods that change nothing (RFC 9110 9.2.1).
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})

log = structlog.get_logger("ccl.http")


def answer(error: CclError, *, instance: str, request_id: str) -> web.Response:
    """The problem document as a response."""
    document = as_document(error, instance=instance, request_id=request_id)
    return web.Response(
        text=json.dumps(document, separators=(",", ":")),
        status=error.status,
        content_type=CONTENT_TYPE,
        headers=error.headers,
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """The middleware and what it needs. ``routes`` maps the router's routes to their rows."""

    settings: Settings
    admission: Admission
    observer: RequestObserver
    phase: Phase
    shedder: Shedder
    replicas: Replicas | None = None
    routes: dict[web.AbstractRoute, Route] = field(default_factory=dict)

    @property
    def middleware(self) -> Middleware:
        """The new-style aiohttp middleware."""

        @web.middleware
        async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self.run(request, handler)

        return around

    async def put_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Put the headers of every answer on, streamed ones included (a receiver of ``on_response_prepare``)."""
        response.headers.update(SECURITY_HEADERS)
        extra = request.get(_EXTRA)
        if extra:
            own = response.headers.get("Vary")
            response.headers.update(extra)
            if own and "Vary" in extra:
                response.headers["Vary"] = f"{own}, {extra['Vary']}"
        if self.phase.moving and response.status != 101:
            response.headers["Connection"] = "close"
            response.force_close()

    async def run(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer one request; never raises but for a cancelled connection."""
        extra = self._begin(request)
        match = request.match_info
        route = self.routes.get(match.route)
        observed = self.observer.begin(
            request.method if route else "(any)",
            route.path if route else "(none)",
            request_id=request[REQUEST_ID],
            traceparent=request.headers.get("traceparent"),
        )
        self.phase.entered()
        status = HUNG_UP
        try:
            response = await self._respond(request, handler, match, route, extra)
            status = response.status
            return response
        finally:
            self.phase.left()
            self.observer.end(observed, status)

    def _begin(self, request: web.Request) -> dict[str, str]:
        given = request.headers.get("X-Request-ID", "")
        request_id = given if GIVEN_ID.match(given) else urandom(16).hex()
        request[REQUEST_ID] = request_id
        extra = {"X-Request-ID": request_id}
        request[_EXTRA] = extra
        trust = self.settings.trust_proxy
        request[CLIENT] = client_subject(request.remote, request.headers.getall("X-Forwarded-For", ()), trust)
        if self._https(request):
            extra["Strict-Transport-Security"] = HSTS
        extra.update(self._cors(request))
        return extra

    def _https(self, request: web.Request) -> bool:
        if request.secure:
            return True
        said = request.headers.get("X-Forwarded-Proto")
        if said is None or said.split(",")[-1].strip().lower() != "https":
            return False
        peer = parse_address(request.remote)
        return peer is not None and self.settings.trust_proxy.trusts(peer)

    def _cors(self, request: web.Request) -> Mapping[str, str]:
        origin = request.headers.get("Origin")
        if origin is None:
            return {"Vary": "Origin"} if self.settings.cors_origin else {}
        allowed = self.settings.cors_origin
        if origin not in allowed and "*" not in allowed:
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": EXPOSED,
            "Vary": "Origin",
        }

    async def _respond(
        self,
        request: web.Request,
        handler: Handler,
        match: AbstractMatchInfo,
        route: Route | None,
        extra: dict[str, str],
    ) -> web.StreamResponse:
        try:
            if route is None:
                return self._unrouted(request, match, extra)
            return await self._handle(request, handler, route, extra)
        except CclError as exc:
            if route is not None:
                self.admission.failed(request, route, exc)
            return self._problem(request, exc)
        except web.HTTPException as exc:
            if exc.status < 400:
                raise  # a redirect is an answer; only aiohttp's refusals are put in our words
            return self._problem(request, _translated(exc))
        except Exception as exc:
            if isinstance(exc, ConnectionResetError) and hung_up(request):
                return web.Response(status=HUNG_UP)  # nobody reads it; aiohttp drops it
            log.error("request failed", action="http:request:failed", request_id=request[REQUEST_ID], exc_info=exc)
            return self._problem(request, CclError())

    async def _handle(
        self, request: web.Request, handler: Handler, route: Route, extra: dict[str, str]
    ) -> web.StreamResponse:
        request[ROUTE] = route
        judged, whole = _seen(request)
        if not (judged or self.shedder.admits(route.priority)):
            _note_shed(route.priority)
            raise Overloaded
        if not (whole and route.priority in COUNTED):
            return await self._served(request, handler, route, extra)
        self.shedder.begin()
        try:
            return await self._served(request, handler, route, extra)
        finally:
            self.shedder.end()

    async def _served(
        self, request: web.Request, handler: Handler, route: Route, extra: dict[str, str]
    ) -> web.StreamResponse:
        await self.admission.admit(request, route, extra)
        caller = request[PRINCIPAL]
        _name_caller(caller)
        if self.replicas is None:
            return await handler(request)
        who = f"{caller.kind} {caller.id} {request[CLIENT]}"
        return await self.replicas.around(who, handler(request), writes=request.method not in SAFE)

    def _problem(self, request: web.Request, error: CclError) -> web.Response:
        if isinstance(error, RateLimited):
            self.observer.metrics.count("ccl_http_limited", error.limit)
        if error.status in {401, 403}:
            self.observer.metrics.count("ccl_http_refused", error.code)
        if error.status == 500 and error.__cause__ is not None:
            log.error("request failed", action="http:request:failed", request_id=request[REQUEST_ID], exc_info=error)
        response = answer(error, instance=request.path, request_id=request[REQUEST_ID])
        if isinstance(error, TooLarge | TooSlow):
            response.force_close()  # what is still on its way is not worth waiting for
        return response

    def _unrouted(self, request: web.Request, match: AbstractMatchInfo, extra: dict[str, str]) -> web.Response:
        """No route: a preflight for a path that exists, 405 or 404. Strangers' probing is limited like any call.

        A preflight is not: browsers ask before each URL that is new to them, which the events of each turn of a chat
        are, so that all visitors of one address would share the limit of one stranger.
        """
        error = match.http_exception
        if not isinstance(error, web.HTTPMethodNotAllowed):
            self.admission.count(request, LimitClass.DEFAULT, extra)
            raise NotFound
        methods = sorted(error.allowed_methods)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            return _preflight(methods, extra)
        self.admission.count(request, LimitClass.DEFAULT, extra)
        raise MethodNotAllowed(methods)


def _preflight(methods: Sequence[str], extra: dict[str, str]) -> web.Response:
    if "Access-Control-Allow-Origin" in extra:
        extra["Access-Control-Allow-Methods"] = ", ".join(methods)
        extra["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
        extra["Access-Control-Max-Age"] = "600"
    return web.Response(status=204)


def _seen(request: web.Request) -> tuple[bool, bool]:
    """What ``platform.server``, which imports this module, knows of a request, told once: whether it has let it in
    already, and whether all of it was there then."""
    protocol: Any = request.protocol
    seen = getattr(protocol, "judged", False), getattr(protocol, "whole", False)
    if any(seen):
        protocol.judged = protocol.whole = False
    return seen


def hung_up(request: web.Request) -> bool:
    """Whether the caller is gone."""
    return request.transport is None or request.transport.is_closing()


def _note_shed(priority: str) -> None:
    """The request counts as turned away, not as answered soon."""
    context = CURRENT.get()
    if context:
        context.shed = priority


def _name_caller(caller: Principal) -> None:
    """From here on log lines tell who calls."""
    context = CURRENT.get()
    if context:
        context.principal, context.principal_id = caller.kind, caller.id


def _translated(exc: web.HTTPException) -> CclError:
    """aiohttp's own refusals in our words."""
    if isinstance(exc, web.HTTPRequestEntityTooLarge):
        return TooLarge()
    if exc.status == 404:
        return NotFound()
    if isinstance(exc, web.HTTPMethodNotAllowed):
        return MethodNotAllowed(sorted(exc.allowed_methods))
    return Malformed() if exc.status < 500 else CclError()
