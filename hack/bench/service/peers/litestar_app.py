"""The two routes on Litestar and Granian, with the service's features, as Litestar's pages teach them.

An authentication middleware, guards with ``opt``, msgspec structs for body and answer, exception handlers,
``CORSConfig``. What surrounds all of it is one ``ASGIMiddleware``.

Usage: granian --interface asgi --factory hack.bench.service.peers.litestar_app:create (environment: ``features``)
"""

import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
from litestar import Litestar, Request, Response, get, post
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.middleware import (
    AbstractAuthenticationMiddleware,
    ASGIMiddleware,
    AuthenticationResult,
    DefineMiddleware,
)
from litestar.types import ASGIApp, Receive, Scope, Send
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ccl_service.leads.model import normal_email, normal_phone
from ccl_service.leads.redaction import redact
from ccl_service.platform import problems
from ccl_service.platform.fields import clean
from ccl_service.platform.middleware import ALLOWED_HEADERS, EXPOSED
from ccl_service.platform.route import Scope as KeyScope
from hack.bench.service.peers import leads
from hack.bench.service.peers.features import Keys, Limits, Settings, Watch, Watched, bearer, permitted

WATCHED: Final = "watched"


class Finance(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Facts about money."""

    monthly_income_usd: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    down_payment_usd: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    credit_band: str | None = None
    employment: str | None = None


class Draft(msgspec.Struct, forbid_unknown_fields=True):
    """A person as they come in; normalised by the service's own functions."""

    first_name: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    last_name: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    email: Annotated[str, msgspec.Meta(max_length=254)] | None = None
    phone: Annotated[str, msgspec.Meta(max_length=40)] | None = None
    zip: Annotated[str, msgspec.Meta(max_length=10)] | None = None
    vehicle_interest: Annotated[str, msgspec.Meta(max_length=400)] | None = None
    finance: Finance = msgspec.field(default_factory=Finance)
    consent: dict[str, Any] | None = None
    source: str = "api"
    requested_at: datetime | None = None
    external_id: Annotated[str, msgspec.Meta(max_length=200)] | None = None

    def __post_init__(self) -> None:
        """Raises ValueError."""
        if self.email is None and self.phone is None:
            raise ValueError("needs an e-mail address or a phone number")
        self.first_name = _text(self.first_name)
        self.last_name = self.last_name and _text(self.last_name)
        self.vehicle_interest = self.vehicle_interest and _text(self.vehicle_interest)
        self.email = self.email and normal_email(self.email)
        self.phone = self.phone and normal_phone(self.phone)


def _text(value: str) -> str:
    return redact(" ".join(clean(value).split()))


class Accepted(msgspec.Struct):
    """Answer to an intake."""

    id: UUID
    state: str
    created: bool


class Lead(msgspec.Struct):
    """A lead."""

    id: UUID
    state: str
    source: str
    external_id: str | None
    first_name: str
    last_name: str | None
    email: str | None
    phone: str | None
    zip: str | None
    vehicle_interest: str | None
    finance: msgspec.Raw
    consent: msgspec.Raw | None
    requested_at: datetime
    created_at: datetime
    updated_at: datetime


class Around(ASGIMiddleware):
    """Request id, headers, metrics and the access line of every routed answer."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        """See ``ASGIMiddleware``."""
        watched = _begun(scope)
        try:
            await next_app(scope, receive, watched.telling(send))
        finally:
            self._watch.end(watched, scope["method"], scope["path_template"])


def _begun(scope: Scope) -> Watched:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
    watched = Watch.begin(given.decode("latin-1") if given else None)
    scope["state"][WATCHED] = watched
    return watched


class Authentication(AbstractAuthenticationMiddleware):
    """Who calls; whether they may is the guard's business, whose errors go through ``Around``."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """See ``AbstractAuthenticationMiddleware``."""
        key = bearer(connection.headers.get("authorization", "")) or connection.headers.get("x-api-key")
        caller = await connection.app.state.known.caller(key) if key else None
        return AuthenticationResult(user=caller, auth=key)


async def scoped(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """A guard: the caller counted and let in. Raises RateLimited, Unauthenticated, MissingScope.

    Async, since Litestar runs others in threads.
    """
    watched, caller = connection.scope["state"][WATCHED], connection.user
    address = connection.client.host if connection.client else ""
    watched.told.update(connection.app.state.limits.check(address, caller))
    watched.caller = caller
    permitted(caller, handler.opt["scope"])


@get("/api/leads/{lead_id:uuid}", guards=[scoped], opt={"scope": KeyScope.LEADS_READ})
async def get_lead(state: State, lead_id: UUID) -> Lead:
    """One lead."""
    row = await leads.read(state.pool, lead_id)
    if row is None:
        raise problems.NotFound("no lead with this id")
    consent = row["consent"]
    return Lead(**{**row, "finance": msgspec.Raw(row["finance"]), "consent": msgspec.Raw(consent) if consent else None})


@post("/api/leads", guards=[scoped], opt={"scope": KeyScope.LEADS_WRITE})
async def post_lead(state: State, data: Draft) -> Accepted:
    """Take a lead in."""
    finance = msgspec.json.encode(data.finance).decode()
    consent = msgspec.json.encode(data.consent).decode() if data.consent else None
    columns = (
        *(data.source, data.external_id, data.first_name, data.last_name, data.email, data.phone, data.zip),
        *(data.vehicle_interest, finance, consent),
    )
    moment = data.requested_at or datetime.now(UTC)
    return msgspec.convert(await leads.take_in(state.pool, columns, data.email or "", moment), Accepted)


@get("/api/monitoring/metrics/prometheus", guards=[scoped], opt={"scope": KeyScope.METRICS_SCRAPE})
async def metrics(state: State) -> Response[bytes]:
    """The exposition format."""
    return Response(generate_latest(state.watch.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


@get("/ready", exclude_from_auth=True)
async def live() -> dict[str, str]:
    """The process turns."""
    return {"status": "live"}


def on_problem(request: Request[Any, Any, Any], exc: Exception) -> Response[dict[str, object]]:
    """Our errors; and what is none, as one."""
    error = exc if isinstance(exc, problems.CclError) else problems.CclError()
    unrouted = WATCHED not in request.scope["state"]
    watched = _begun(request.scope) if unrouted else request.scope["state"][WATCHED]
    document = problems.as_document(error, instance=request.url.path, request_id=watched.request_id)
    headers = dict(error.headers)
    if isinstance(error, problems.RateLimited):
        watched.told.clear()
    if unrouted:
        headers |= {name.decode(): value.decode() for name, value in watched.headers()}
        watched.status = error.status
        request.app.state.watch.end(watched, request.method, "(none)")
    return Response(document, status_code=error.status, headers=headers, media_type=problems.CONTENT_TYPE)


def on_http(request: Request[Any, Any, Any], exc: HTTPException) -> Response[dict[str, object]]:
    """The framework's own refusals."""
    if isinstance(exc, ValidationException):
        return on_problem(request, problems.ValidationFailed(_wrong(exc)))
    known = {404: problems.NotFound(), 405: problems.MethodNotAllowed(()), 400: problems.Malformed()}
    return on_problem(request, known.get(exc.status_code, problems.CclError()))


def _wrong(exc: ValidationException) -> list[problems.FieldError]:
    extra = exc.extra if isinstance(exc.extra, list) else []
    return [
        problems.FieldError(tuple(str(one.get("key", "")).split(".")), "invalid", str(one["message"])) for one in extra
    ]


def create() -> Litestar:
    """The application."""
    settings = Settings.load()
    watch = Watch(settings.log_level)

    @contextlib.asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with await leads.open_pool(settings.database_url) as pool:
            app.state.update(
                pool=pool,
                watch=watch,
                known=Keys(settings.root_key.encode(), pool),
                limits=Limits(settings.most, settings.window_seconds),
            )
            yield

    return Litestar(
        [get_lead, post_lead, metrics, live],
        lifespan=[lifespan],
        cors_config=CORSConfig(
            allow_origins=settings.origins,
            allow_methods=["GET", "POST"],
            allow_headers=ALLOWED_HEADERS.split(", "),
            expose_headers=EXPOSED.split(", "),
        ),
        middleware=[Around(watch), DefineMiddleware(Authentication)],
        exception_handlers={problems.CclError: on_problem, HTTPException: on_http, 500: on_problem},
        openapi_config=None,
        logging_config=None,
    )
