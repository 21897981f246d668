"""Probes and the monitoring API. Strangers learn whether the service works; details need a key."""

from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from ccl_contract.readiness import CheckStatus, ReadinessReport, worst
from ccl_service.platform import observability
from ccl_service.platform.auth import PRINCIPAL
from ccl_service.platform.config_view import ConfigView, config_view
from ccl_service.platform.health import DatabaseProbe
from ccl_service.platform.http import (
    DB,
    KEYS,
    PHASE,
    SETTINGS,
    Auth,
    LimitClass,
    Priority,
    Route,
    Scope,
    json_reply,
)
from ccl_service.platform.observability import HEALTH, uptime
from ccl_service.platform.phase import Role
from ccl_service.platform.readiness import CheckRegistry, report
from ccl_service.platform.route import Answer
from ccl_service.platform.views import HealthView, Live, NotReady, ReadinessSummary, Ready
from ccl_service.version import VERSION

PROBE: Final = web.AppKey("probe", DatabaseProbe)
CHECKS: Final = web.AppKey("checks", CheckRegistry)
ROLE: Final = web.AppKey("role", Role)


async def live(_: web.Request) -> web.Response:
    """GET /live: 200 as long as the loop turns. Touches no dependency, so that no outage restarts every pod."""
    return json_reply(Live())


async def ready(request: web.Request) -> web.Response:
    """GET /ready: 200 ready; 503 with the reason while draining, or without a usable database."""
    if request.app[PHASE].draining:
        return json_reply(NotReady(reason="Draining"), status=503)
    database = await request.app[PROBE].check()
    if database.state != "up":
        return json_reply(NotReady(reason=database.reason), status=503)
    return json_reply(Ready())


async def health(request: web.Request) -> web.Response:
    """GET /health: 200, or 503 for the database or the way out. With a key: every component, latencies, versions."""
    app = request.app
    found = await app[HEALTH].run()
    details = request[PRINCIPAL].may(Scope.MONITORING_READ)
    document = found.document(details=details)
    if details:
        settings = app[SETTINGS]
        document |= {
            "version": VERSION,
            "revision": settings.ccl_revision,
            "role": app[ROLE],
            "environment": settings.env,
            "uptime_s": uptime(app),
        }
    view = HealthView.model_validate(document)
    return json_reply(view.model_dump(mode="json", exclude_none=True), status=200 if found.fit else 503)


async def production_readiness(request: web.Request) -> web.Response:
    """GET production-readiness: 200 whatever the verdict. Without a key only the verdict and its counts."""
    app = request.app
    if not request[PRINCIPAL].may(Scope.MONITORING_READ):
        checks = await app[CHECKS].latest()
        counts = {status: sum(c.status is status for c in checks) for status in CheckStatus}
        return json_reply(ReadinessSummary(status=worst(c.status for c in checks), counts=counts))
    revision = app[SETTINGS].ccl_revision
    document = await report(app[CHECKS], revision=revision, version=VERSION, keys=app[KEYS], db=app[DB])
    return json_reply(document.model_dump(mode="json", by_alias=True, exclude_none=True))


async def config(request: web.Request) -> web.Response:
    """GET config: the effective settings with their sources, secrets masked; 401."""
    return json_reply(config_view(request.app[SETTINGS], request.app[KEYS].ids()))


def routes(*, metrics_enabled: bool) -> tuple[Route, ...]:
    """The rows of this module; without metrics those that show them are absent."""
    base = "/api/monitoring"
    gate = Route(
        "GET",
        f"{base}/production-readiness",
        production_readiness,
        Auth.PUBLIC,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
        response=ReadinessReport,
        also=(Answer(200, ReadinessSummary),),
        summary="Whether this process is fit for production; without a key the verdict and its counts only",
    )
    configured = Route(
        "GET",
        f"{base}/config",
        config,
        Auth.KEY,
        LimitClass.MONITORING,
        # never turned away under load, when it is needed most: its limit keeps it cheap
        priority=Priority.PROBE,
        scope=Scope.MONITORING_READ,
        response=ConfigView,
        summary="The settings in force and where each comes from; secrets masked",
    )
    watched = (*_probes(base), gate, configured)
    return (*watched, *observability.routes()) if metrics_enabled else watched


def _probes(base: str) -> tuple[Route, ...]:
    """Each at the root, where orchestrators look, and below ``base``."""
    asked: tuple[tuple[str, Handler, type[BaseModel], tuple[Answer, ...], str], ...] = (
        ("/live", live, Live, (), "Whether the process turns; asks nothing else"),
        ("/ready", ready, Ready, (Answer(503, NotReady),), "Whether the process takes requests, and why not"),
        ("/health", health, HealthView, (Answer(503, HealthView),), "Every component's state; with a key the details"),
    )
    return tuple(
        Route(
            "GET",
            prefix + path,
            handler,
            Auth.PUBLIC,
            LimitClass.NONE,
            priority=Priority.PROBE,
            response=view,
            also=also,
            summary=summary,
        )
        for path, handler, view, also, summary in asked
        for prefix in ("", base)
    )
