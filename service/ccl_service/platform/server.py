"""The listening side: aiohttp's own refusals in our form, and no listener of aiohttp's choosing."""

import asyncio
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import structlog
from aiohttp import web
from aiohttp.http import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from ccl_service.platform.middleware import SECURITY_HEADERS, answer
from ccl_service.platform.problems import CclError, Malformed

#: How long a new connection may take to send its first request's head. For later ones the keep-alive time counts.
HEADER_SECONDS = 10.0
#: An idle connection stays open longer than common load balancers keep theirs (60 s), so that they close first.
KEEPALIVE_SECONDS = 75.0
CUT_OFF_SECONDS = 1.0

log = structlog.get_logger("ccl.server")


class ProblemHandler(RequestHandler):
    """Answers what never reaches the application (bytes that are not HTTP) with a problem that repeats nothing."""

    __slots__ = ("_deadline",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Starts the clock: aiohttp waits for a first request without end."""
        super().connection_made(transport)
        manager = self._manager
        seconds = manager.header_seconds if isinstance(manager, ProblemServer) else HEADER_SECONDS
        self._deadline = asyncio.get_running_loop().call_later(seconds, self._too_slow)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stops the clock."""
        self._deadline.cancel()
        super().connection_lost(exc)

    def _too_slow(self) -> None:
        if self._request_count == 0:
            self.force_close()

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
        error: CclError = Malformed("this is not HTTP that can be read") if refused else CclError()
        response = answer(error, instance="", request_id=request_id)
        response.headers.update(SECURITY_HEADERS)
        response.headers["X-Request-ID"] = request_id
        response.force_close()
        return response


class ProblemServer(web.Server):
    """Makes connections with ``ProblemHandler``."""

    header_seconds = HEADER_SECONDS

    def __call__(self) -> RequestHandler:
        return ProblemHandler(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """An AppRunner whose connections are ``ProblemHandler``s."""

    __slots__ = ("header_seconds",)

    header_seconds: float

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        kwargs: dict[str, Any] = made._kwargs
        server = ProblemServer(made.request_handler, request_factory=made.request_factory, **kwargs)
        server.header_seconds = self.header_seconds
        return server


def runner(app: web.Application, *, header_seconds: float = HEADER_SECONDS) -> Runner:
    """A runner for ``app``. Its cleanup cuts off what ``lifecycle.close_listener`` has not waited for.

    A connection that has sent no whole request head after ``header_seconds`` is closed.
    """
    made = Runner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=CUT_OFF_SECONDS,
        handle_signals=False,
    )
    made.header_seconds = header_seconds
    return made
