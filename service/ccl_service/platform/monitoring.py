"""Probes and the monitoring API. Strangers learn whether the service works; details need a key."""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import SecretStr

from ccl_contract.readiness import CheckStatus
from ccl_service.platform.auth import PRINCIPAL
from ccl_service.platform.database_view import read_database
from ccl_service.platform.db import PoolDb
from ccl_service.platform.health import DatabaseHealth, DatabaseProbe
from ccl_service.platform.http import (
    CLOCK,
    DB,
    KEYS,
    METRICS,
    PHASE,
    SETTINGS,
    Auth,
    LimitClass,
    Priority,
    Route,
    Scope,
    json_reply,
)
from ccl_service.platform.limits import RedisCounts
from ccl_service.platform.performance import error_note, fleet_document, own_windows, read_fleet, views
from ccl_service.platform.phase import Role
from ccl_service.platform.problems import CclError
from ccl_service.platform.readiness import CheckRegistry, report
from ccl_service.version import VERSION

PROBE: Final = web.AppKey("probe", DatabaseProbe)
CHECKS: Final = web.AppKey("checks", CheckRegistry)
REDIS: Final = web.AppKey("redis", RedisCounts)
ROLE: Final = web.AppKey("role", Role)
STARTED: Final = web.AppKey("started", float)
T = TypeVar("T")


async def live(_: web.Request) -> web.Response:
    """GET /live: 200 as long as the loop turns. Touches no dependency, so that no outage restarts every pod."""
    return json_reply({"status": "live"})


async def ready(request: web.Request) -> web.Response:
    """GET /ready: 200 ready; 503 with the reason while draining, or without a usable database."""
    if request.app[PHASE].draining:
        return json_reply({"status": "not ready", "reason": "Draining"}, status=503)
    database = await request.app[PROBE].check()
    if database.state != "up":
        return json_reply({"status": "not ready", "reason": database.reason}, status=503)
    return json_reply({"status": "ready"})


async def health(request: web.Request) -> web.Response:
    """GET /health: 200, or 503 for the database or the way out. With a key: latencies, versions, the pool."""
    app = request.app
    database = await app[PROBE].check()
    draining = app[PHASE].draining
    redis = await _redis_state(app)
    failed = draining or database.state != "up"
    degraded = redis == "down"
    status = "draining" if draining else "unhealthy" if failed else "degraded" if degraded else "healthy"
    components: dict[str, Any] = {"database": {"state": database.state}, "redis": {"state": redis}}
    document: dict[str, Any] = {"status": status, "components": components}
    if request[PRINCIPAL].may(Scope.MONITORING_READ):
        components["database"] |= _database_details(app, database)
        settings = app[SETTINGS]
        document |= {
            "version": VERSION,
            "revision": settings.ccl_revision,
            "role": app[ROLE],
            "environment": settings.env,
            "uptime_s": _uptime(app),
        }
    return json_reply(document, status=503 if failed else 200)


def _database_details(app: web.Application, database: DatabaseHealth) -> Mapping[str, Any]:
    db = app[DB]
    pool = {"in_use": db.in_use, "size": db.size} if isinstance(db, PoolDb) else {}
    return {
        "latency_ms": database.latency_ms,
        "age_s": round(asyncio.get_running_loop().time() - database.checked_at, 2),
        "reason": database.reason,
        "pool": pool,
    }


async def _redis_state(app: web.Application) -> str:
    redis = app.get(REDIS)
    if redis is None:
        return "unused"
    try:
        async with asyncio.timeout(1):
            await redis.ping()
    except (OSError, TimeoutError):
        return "down"
    return "up"


async def production_readiness(request: web.Request) -> web.Response:
    """GET production-readiness: 200 whatever the verdict. Without a key only the verdict and its counts."""
    app = request.app
    settings = app[SETTINGS]
    document = await report(app[CHECKS], revision=settings.ccl_revision, version=VERSION, keys=app[KEYS], db=app[DB])
    if request[PRINCIPAL].may(Scope.MONITORING_READ):
        return json_reply(document.model_dump(mode="json", by_alias=True, exclude_none=True))
    counts = {status: sum(c.status is status for c in document.checks) for status in CheckStatus}
    return json_reply({"v": 1, "status": document.status, "counts": counts})


async def metrics(request: web.Request) -> web.Response:
    """GET metrics: this process's numbers as JSON; 401."""
    app = request.app
    _observe(app)
    return json_reply({"at": app[CLOCK](), "uptime_s": _uptime(app), "metrics": app[METRICS].samples()})


async def prometheus(request: web.Request) -> web.Response:
    """GET metrics/prometheus: the exposition format; 401."""
    _observe(request.app)
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def performance(request: web.Request) -> web.Response:
    """GET performance: rates, errors and percentiles over 1, 5 and 60 minutes, of this process and the fleet; 401.

    The parts that come from the database are null, and ``unavailable`` says so, while it does not answer.
    """
    app = request.app
    fleet, database = await asyncio.gather(_or_none(read_fleet(app[DB])), _or_none(read_database(app[DB])))
    unavailable = [name for name, part in (("fleet", fleet), ("database", database)) if part is None]
    return json_reply(
        {
            "at": app[CLOCK](),
            "uptime_s": _uptime(app),
            "percentiles": error_note(),
            "process": {"windows": views(own_windows(app[METRICS].windows))},
            "fleet": fleet_document(fleet) if fleet else None,
            "database": database,
            "unavailable": unavailable,
        }
    )


async def _or_none(asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except CclError:
        return None


async def config(request: web.Request) -> web.Response:
    """GET config: the effective settings, secrets masked; 401."""
    settings = request.app[SETTINGS]
    shown = {name: _masked(getattr(settings, name)) for name in type(settings).model_fields if name != "keys"}
    keys = {str(name): "file" if source.file else "value" for name, source in settings.keys.items()}
    return json_reply({"settings": shown, "keys": keys, "key_ids": request.app[KEYS].ids()})


def _masked(value: object) -> object:
    if isinstance(value, SecretStr):
        return "***"
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _observe(app: web.Application) -> None:
    app[METRICS].gauge("ccl_http_in_flight", app[PHASE].in_flight)
    db = app[DB]
    if isinstance(db, PoolDb):
        app[METRICS].gauge("ccl_db_connections_in_use", db.in_use)
        app[METRICS].gauge("ccl_db_connections_max", db.size)


def _uptime(app: web.Application) -> float:
    return round(asyncio.get_running_loop().time() - app[STARTED], 2)


def routes(*, metrics_enabled: bool) -> tuple[Route, ...]:
    """The rows of this module; without metrics the three that show them are absent."""
    base = "/api/monitoring"
    probes = tuple(
        Route("GET", prefix + path, handler, Auth.PUBLIC, LimitClass.NONE, priority=Priority.PROBE)
        for path, handler in (("/live", live), ("/ready", ready), ("/health", health))
        for prefix in ("", base)
    )
    gate = Route(
        "GET",
        f"{base}/production-readiness",
        production_readiness,
        Auth.PUBLIC,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
    )
    watched = (*probes, gate, _watched("/config", config))
    if not metrics_enabled:
        return watched
    return (
        *watched,
        _watched("/metrics", metrics),
        _watched("/metrics/prometheus", prometheus, scope=Scope.METRICS_SCRAPE),
        _watched("/performance", performance),
    )


def _watched(path: str, handler: Handler, *, scope: Scope = Scope.MONITORING_READ) -> Route:
    """A view that needs a key. Never turned away under load, when it is needed most: its limit keeps it cheap."""
    return Route(
        "GET",
        f"/api/monitoring{path}",
        handler,
        Auth.KEY,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
        scope=scope,
    )
