"""The two routes on FastAPI and uvicorn, with the service's features, as FastAPI's pages teach them.

Security schemes as dependencies, models for body and answer, exception handlers, ``CORSMiddleware``. What surrounds all
of it is one plain ASGI middleware: ``@app.middleware("http")`` would cost several times as much.

Usage: uvicorn --factory hack.bench.service.peers.fastapi_app:create (environment: see ``features.Settings``)
"""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Response, Security
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ccl_service.leads.model import LeadDraft
from ccl_service.leads.sql import consent_of, finance_of
from ccl_service.leads.views import LeadAccepted, LeadView
from ccl_service.platform import problems
from ccl_service.platform.middleware import ALLOWED_HEADERS, EXPOSED
from ccl_service.platform.route import Scope as KeyScope
from hack.bench.service.peers import leads
from hack.bench.service.peers.features import Caller, Keys, Limits, Settings, Watch, Watched, permitted

bearer_scheme = HTTPBearer(auto_error=False)
header_scheme = APIKeyHeader(name="X-API-Key", auto_error=False)


class Around:
    """Request id, headers, metrics and the access line of every answer."""

    def __init__(self, app: ASGIApp, watch: Watch) -> None:
        self._app, self._watch = app, watch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        watched = self._watch.begin(given.decode("latin-1") if given else None)
        scope["watched"] = watched
        try:
            await self._app(scope, receive, watched.telling(send))
        finally:
            route = scope.get("route")
            self._watch.end(watched, scope["method"], route.path if route else "(none)")


def needs(scope: KeyScope) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller counted and let in."""

    async def admitted(
        request: Request,
        bearer: Annotated[HTTPAuthorizationCredentials | None, Security(bearer_scheme)],
        header: Annotated[str | None, Security(header_scheme)],
    ) -> Caller:
        state, watched = request.app.state, _watched(request)
        key = bearer.credentials if bearer else header
        caller = await state.keys.caller(key) if key else None
        watched.told.update(state.limits.check(request.client.host if request.client else "", caller))
        watched.caller = caller
        return permitted(caller, scope)

    return admitted


def _watched(request: Request) -> Watched:
    found: Watched = request.scope["watched"]
    return found


async def get_lead(request: Request, lead_id: UUID) -> LeadView:
    """One lead."""
    row = await leads.read(request.app.state.pool, lead_id)
    if row is None:
        raise problems.NotFound("no lead with this id")
    consent = json.loads(row["consent"]) if row["consent"] else None
    return LeadView.model_validate({**row, "finance": json.loads(row["finance"]), "consent": consent})


async def post_lead(request: Request, draft: LeadDraft) -> LeadAccepted:
    """Take a lead in."""
    columns = (
        *(draft.source, draft.external_id, draft.first_name, draft.last_name, draft.email, draft.phone, draft.zip),
        *(draft.vehicle_interest, finance_of(draft), consent_of(draft)),
    )
    moment = draft.requested_at or datetime.now(UTC)
    return LeadAccepted.model_validate(await leads.take_in(request.app.state.pool, columns, draft.email or "", moment))


async def metrics(request: Request) -> Response:
    """The exposition format."""
    return Response(generate_latest(request.app.state.watch.registry), media_type=CONTENT_TYPE_LATEST)


async def live() -> dict[str, str]:
    """The process turns."""
    return {"status": "live"}


async def on_problem(request: Request, exc: Exception) -> Response:
    """Our errors."""
    error = exc if isinstance(exc, problems.CclError) else problems.CclError()
    document = problems.as_document(error, instance=request.url.path, request_id=_watched(request).request_id)
    headers = {**error.headers}
    if isinstance(error, problems.RateLimited):
        _watched(request).told.clear()
    return JSONResponse(document, error.status, headers, media_type=problems.CONTENT_TYPE)


async def on_crash(request: Request, exc: Exception) -> Response:
    """Bugs, whose answers Starlette sends from outside of every middleware."""
    answer = await on_problem(request, exc)
    answer.raw_headers += _watched(request).headers()
    return answer


async def on_invalid(request: Request, exc: Exception) -> Response:
    """Pydantic's errors."""
    assert isinstance(exc, RequestValidationError)
    found = [problems.FieldError(e["loc"][1:], e["type"], e["msg"], str(e["loc"][0])) for e in exc.errors()]
    return await on_problem(request, problems.ValidationFailed(found))


async def on_http(request: Request, exc: Exception) -> Response:
    """The framework's own refusals."""
    status = exc.status_code if isinstance(exc, StarletteHTTPException) else 500
    known = {404: problems.NotFound(), 405: problems.MethodNotAllowed(()), 400: problems.Malformed()}
    return await on_problem(request, known.get(status, problems.CclError()))


def create() -> FastAPI:
    """The application."""
    settings = Settings.load()
    watch = Watch(settings.log_level)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with await leads.open_pool(settings.database_url) as pool:
            app.state.pool, app.state.watch = pool, watch
            app.state.keys = Keys(settings.root_key.encode(), pool)
            app.state.limits = Limits(settings.most, settings.window_seconds)
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST"],
        allow_headers=ALLOWED_HEADERS.split(", "),
        expose_headers=EXPOSED.split(", "),
    )
    app.add_middleware(Around, watch=watch)
    for kind, handler in HANDLERS.items():
        app.add_exception_handler(kind, handler)
    app.get("/api/leads/{lead_id}", dependencies=[Depends(needs(KeyScope.LEADS_READ))])(get_lead)
    app.post("/api/leads", status_code=201, dependencies=[Depends(needs(KeyScope.LEADS_WRITE))])(post_lead)
    scrape = [Depends(needs(KeyScope.METRICS_SCRAPE))]
    app.get("/api/monitoring/metrics/prometheus", dependencies=scrape)(metrics)
    app.get("/ready")(live)
    return app


HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    problems.CclError: on_problem,
    RequestValidationError: on_invalid,
    StarletteHTTPException: on_http,
    Exception: on_crash,
}
