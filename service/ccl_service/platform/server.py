"""The listening side: aiohttp's own refusals in our form, and no listener of aiohttp's choosing."""

import asyncio
import random
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from multidict import CIMultiDict, CIMultiDictProxy

from ccl_service.platform.doorman import HEADER_SECONDS, Doorman, Place
from ccl_service.platform.http import METRICS, REFUSER, SETTINGS
from ccl_service.platform.middleware import GIVEN_ID, HSTS, SECURITY_HEADERS, answer
from ccl_service.platform.problems import CclError, HeadTooLarge, Malformed, Overloaded, TooManyConnections
from ccl_service.platform.refusing import Refuser, request_line, said_id
from ccl_service.platform.telemetry.metrics import Count
from ccl_service.platform.unread import UNREAD_SECONDS, Unread

#: An idle connection stays open longer than common load balancers keep theirs (60 s), so that they close first.
KEEPALIVE_SECONDS = 75.0
CUT_OFF_SECONDS = 1.0
#: How long a body that nobody wants any more is still read, so that its sender sees the answer and not a reset.
LINGER_SECONDS = 2.0
_SAYS_HTTPS: Final = b"\r\nx-forwarded-proto: https\r\n"

log = structlog.get_logger("ccl.server")


class ProblemHandler(RequestHandler):
    """Answers what never reaches the application (bytes that are not HTTP) with a problem that repeats nothing."""

    __slots__ = (
        "_count",
        "_deadline",
        "_doorman",
        "_idle_since",
        "_place",
        "_plain",
        "_refuser",
        "_unread",
        "judged",
        "whole",
    )

    def __init__(self, manager: web.Server, doorman: Doorman, refuser: Refuser, count: Count, **kwargs: Any) -> None:
        super().__init__(manager, **kwargs)
        self._doorman, self._refuser, self._count = doorman, refuser, count
        #: Whether every piece of data was one whole request so far, so that the parser stands between two of them.
        self._plain = True
        #: Whether the request that follows was let in here, and whether all of it was there: the middleware asks, so
        #: that none is judged twice and nobody who sends slowly counts as work.
        self.judged = self.whole = False
        self._place: Place | None = None
        self._deadline: asyncio.TimerHandle | None = None
        #: When the last request was refused here, as long as the deadline is one for the next.
        self._idle_since: float | None = None
        self._unread: Unread | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock: aiohttp waits for a first request without end."""
        super().connection_made(transport)
        self._look_after_answers()
        peer = transport.get_extra_info("peername")
        try:
            self._place = self._doorman.enter(peer[0] if isinstance(peer, tuple) else None, self.force_close)
        except TooManyConnections as refused:
            self._turn_away(refused)
            return
        self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stops the clock."""
        self._head_is_here()
        if self._unread is not None:
            self._unread.over()
        self._doorman.leave(self._place)
        self._place = None
        super().connection_lost(exc)

    def _look_after_answers(self) -> None:
        """An answer that nobody reads is noticed when it fills the buffer, or when it is all that is left."""
        if self.transport is None:
            return
        unread = Unread(self.transport, self._doorman.unread_seconds, self._doorman.on_unread)
        self._unread = unread
        if self._task_handler is not None:
            self._task_handler.add_done_callback(lambda _: unread.watch())

    def pause_writing(self) -> None:
        """The client reads more slowly than it is written to, or not at all."""
        super().pause_writing()
        if self._unread is not None:
            self._unread.watch()

    def data_received(self, data: bytes) -> None:
        """Stops the clock when a head is complete, and starts it again when a later one begins."""
        spare = self._place is not None and self._place.spare
        if data:  # else aiohttp looks for what it has kept, after it had stopped to read
            if spare and not self._refuser.probes(data):
                self._doorman.on_full()
                self._turn_away(Overloaded())
                return
            if self._plain and self._refuses(data):
                return
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._head_is_here()
            if spare:
                self._doorman.heard(self._place)
                self.close()  # when it has been answered: the next probe needs the place
        elif self._deadline is None and self._waiter is not None:
            self._expect_head()

    def _turn_away(self, error: CclError) -> None:
        """Answer without a request, and close."""
        if self.transport is not None:  # not asked for its class: uvloop's are none of asyncio's
            self.transport.write(_raw(error, uuid4().hex, Connection="close"))
        self.force_close()

    def _refuses(self, data: bytes) -> bool:
        """Answer a request under overload; False when it has to go on."""
        line = request_line(data)
        self._plain = line is not None
        waiter = self._waiter
        if line is None or waiter is None or waiter.done() or self._messages or self.transport is None:
            return False
        verdict = self._refuser.judge(line)
        self.judged, self.whole = verdict is True, verdict is not False
        if verdict is not False:
            return False
        secure = _SAYS_HTTPS in data.lower() and self._doorman.trusts(self.transport.get_extra_info("peername"))
        said = said_id(data)
        # an id need not be hard to guess, and this costs a tenth of a uuid
        request_id = said if GIVEN_ID.match(said) else f"{random.getrandbits(128):032x}"
        self.transport.write(request_id.encode().join(_turned_away(len(request_id), secure)))
        self._expect_next()
        return True

    def _expect_next(self) -> None:
        """Close the connection when nothing comes for long. One timer for all refusals: a new one for each costs more
        than the rest of it."""
        loop = asyncio.get_running_loop()
        if self._idle_since is None:
            self._head_is_here()
            self._deadline = loop.call_later(KEEPALIVE_SECONDS, self._idle)
        self._idle_since = loop.time()

    def _idle(self) -> None:
        loop = asyncio.get_running_loop()
        rest = KEEPALIVE_SECONDS - (loop.time() - self._idle_since) if self._idle_since is not None else 0.0
        if rest > 0:
            self._deadline = loop.call_later(rest, self._idle)
        else:
            self.force_close()

    def _expect_head(self) -> None:
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(self._doorman.header_seconds, self.force_close)

    def _head_is_here(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = self._idle_since = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it holds the bytes that were sent
    ) -> web.StreamResponse:
        """Overrides aiohttp's, which echoes the offending bytes and names the server's version."""
        request_id = uuid4().hex
        refused = status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(exc, HttpProcessingError)
        if not refused:
            log.error("connection failed", action="http:connection:failed", request_id=request_id, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; another one cannot follow")
        response = answer(_refusal(exc) if refused else CclError(), instance="", request_id=request_id)
        response.headers.update(SECURITY_HEADERS)
        response.headers["X-Request-ID"] = request_id
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Overrides aiohttp's, which calls a failure of ours what it meets in the rest of a body that nobody read.

        Anybody can send such a body to any path, so that it must not reach whoever is told of errors.
        """
        if isinstance(kw.get("exc_info"), web.RequestPayloadError | HttpProcessingError):
            self._count("ccl_http_broken_bodies")
            self.log_debug("a body is not what its head says", **kw)
        else:
            super().log_exception(*args, **kw)


def _without_unknown_expectation(message: RawRequestMessage) -> RawRequestMessage:
    """Leave out an expectation other than 100-continue, which a server may ignore (RFC 9110, 10.1.1).

    aiohttp refuses it before any middleware, in a sentence of plain text that repeats it.
    """
    if message.headers.get("Expect", "100-continue").lower() == "100-continue":
        return message
    headers = CIMultiDict(message.headers)
    headers.popall("Expect")
    return message._replace(headers=CIMultiDictProxy(headers))


def _refusal(exc: BaseException | None) -> CclError:
    # aiohttp has a class for a line that is too long and none for too many lines
    if isinstance(exc, LineTooLong) or "Too many headers" in str(exc):
        return HeadTooLarge()
    return Malformed("this is not HTTP that can be read")


def _raw(error: CclError, request_id: str, **more: str) -> bytes:
    """An answer that no request of aiohttp's stands behind; ``more`` headers with _ for -."""
    response = answer(error, instance="", request_id=request_id)
    body = response.body if isinstance(response.body, bytes) else b""
    named = {name.replace("_", "-"): value for name, value in more.items()}
    fixed = {"Content-Length": str(len(body)), "X-Request-ID": request_id, **named}
    headers = {**response.headers, **SECURITY_HEADERS, **fixed}
    lines = [f"HTTP/1.1 {error.status} {error.title}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


@lru_cache  # of 57 lengths
def _turned_away(id_length: int, secure: bool) -> tuple[bytes, ...]:
    """The answer under overload, cut where its request id of ``id_length`` characters goes.

    ``secure``: a trusted proxy says that the caller uses https.
    """
    place = "_" * id_length
    more = {"Strict_Transport_Security": HSTS} if secure else {}
    return tuple(_raw(Overloaded(), place, **more).split(place.encode()))


class ProblemServer(web.Server):
    """Makes connections with ``ProblemHandler``."""

    doorman: Doorman
    refuser: Refuser
    count: Count

    def __call__(self) -> RequestHandler:
        return ProblemHandler(self, self.doorman, self.refuser, self.count, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are ``ProblemHandler``s."""

    __slots__ = ("count", "doorman", "refuser")

    doorman: Doorman
    refuser: Refuser
    count: Count

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        kwargs: dict[str, Any] = made._kwargs
        factory: Callable[..., web.BaseRequest] = made.request_factory

        def request(message: RawRequestMessage, *others: Any) -> web.BaseRequest:
            return factory(_without_unknown_expectation(message), *others)

        server = ProblemServer(made.request_handler, request_factory=request, **kwargs)
        server.doorman, server.refuser, server.count = self.doorman, self.refuser, self.count
        return server


def runner(
    app: web.Application,
    *,
    header_seconds: float = HEADER_SECONDS,
    connections_per_ip: int | None = None,
    unread_seconds: float = UNREAD_SECONDS,
    places: int | None = None,
) -> Runner:
    """A runner for ``app``. Its cleanup cuts off what ``lifecycle.stop`` has not waited for.

    A connection that has sent no whole request head after ``header_seconds`` is closed, and one
    whose client takes nothing of a waiting answer for ``unread_seconds`` is reset. ``connections_per_ip`` replaces the
    setting of that name; ``places`` is how many connections there may be at all, None for any number.
    """
    made = Runner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        lingering_time=LINGER_SECONDS,
        shutdown_timeout=CUT_OFF_SECONDS,
        handle_signals=False,
    )
    settings, metrics = app[SETTINGS], app[METRICS]
    made.refuser, made.count = app[REFUSER], metrics.count
    made.doorman = Doorman(
        header_seconds,
        settings.connections_per_ip if connections_per_ip is None else connections_per_ip,
        settings.trust_proxy,
        lambda: metrics.count("ccl_http_limited", "connections"),
        unread_seconds,
        lambda: metrics.count("ccl_http_limited", "unread"),
        places,
        lambda: metrics.count("ccl_http_limited", "places"),
    )
    metrics.gauge_from("ccl_http_connections", lambda: made.doorman.open)
    if places is not None:
        metrics.gauge("ccl_http_connections_max", places)
    return made
