"""The views of what happens: metrics, performance, history, profile; and the loops that feed them."""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel

from ccl_service.platform import history
from ccl_service.platform.components import HealthCheck, HealthSampler
from ccl_service.platform.config import Settings
from ccl_service.platform.database_view import read_database
from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.dependencies import Dependencies
from ccl_service.platform.gate import Fits
from ccl_service.platform.http import (
    CLOCK,
    DB,
    METRICS,
    PHASE,
    Auth,
    LimitClass,
    Priority,
    Route,
    Scope,
    json_reply,
    parse_query,
)
from ccl_service.platform.instances import Instance
from ccl_service.platform.lifecycle import Worker
from ccl_service.platform.performance import Publisher, error_note, fleet_document, own_windows, read_fleet, views
from ccl_service.platform.phase import Role
from ccl_service.platform.problems import CclError, Conflict, FieldError, ValidationFailed
from ccl_service.platform.profiler import Format, ProfileSlot
from ccl_service.platform.queues import QueueSampler
from ccl_service.platform.route import JSON, Answer, Header
from ccl_service.platform.series import SERIES
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.logs import current_sink
from ccl_service.platform.views import (
    MOST_POINTS,
    HistoryQuery,
    HistoryView,
    MetricsView,
    PerformanceView,
    ProfileQuery,
    Speedscope,
)
from ccl_service.platform.vitals import CertificateWatch, LoopLag, watch_disks, watch_memory
from ccl_service.platform.work import WorkTable
from ccl_service.version import VERSION

BASE: Final = "/api/monitoring"
DEPENDENCIES: Final = web.AppKey("dependencies", Dependencies)
HEALTH: Final = web.AppKey("health", HealthCheck)
PROFILE: Final = web.AppKey("profile", ProfileSlot)
STARTED: Final = web.AppKey("started", float)
T = TypeVar("T")


async def metrics(request: web.Request) -> web.Response:
    """GET metrics: this process's numbers as JSON; 401."""
    app = request.app
    shown = {"at": app[CLOCK](), "uptime_s": uptime(app), "metrics": app[METRICS].samples()}
    return json_reply(MetricsView.model_validate(shown))


async def prometheus(request: web.Request) -> web.Response:
    """GET metrics/prometheus: the exposition format; 401."""
    body = generate_latest(request.app[METRICS].registry)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def performance(request: web.Request) -> web.Response:
    """GET performance: rates, errors and percentiles over 1, 5 and 60 minutes, of this process and the fleet; 401.

    The parts that come from the database are null, and ``unavailable`` says so, while it does not answer.
    """
    app = request.app
    fleet, database = await asyncio.gather(_or_none(read_fleet(app[DB])), _or_none(read_database(app[DB])))
    shown = {
        "at": app[CLOCK](),
        "uptime_s": uptime(app),
        "percentiles": error_note(),
        "process": {"windows": views(own_windows(app[METRICS].windows))},
        "fleet": fleet_document(fleet) if fleet else None,
        "database": database,
        "unavailable": [name for name, part in (("fleet", fleet), ("database", database)) if part is None],
    }
    return json_reply(PerformanceView.model_validate(shown))


async def get_history(request: web.Request) -> web.Response:
    """GET history: one metric of the fleet over time, the last hour unless told; 401, 422."""
    query = parse_query(request, HistoryQuery)
    until = query.until or request.app[CLOCK]()
    since = query.since or until - timedelta(hours=1)
    step = timedelta(seconds=query.step)
    _bounded(since, until, step)
    points = await history.read(request.app[DB], query.metric, since=since, until=until, step=step)
    series = SERIES[query.metric]
    shown = {
        "metric": query.metric,
        "unit": series.unit,
        "aggregate": series.kind,
        "from": since,
        "to": until,
        "step_s": query.step,
        "points": [{"at": point.at, "value": point.value} for point in points],
    }
    return json_reply(HistoryView.model_validate(shown))


async def profile(request: web.Request) -> web.Response:
    """GET profile: what this process does for ``seconds``, as a file; 401, 403, 409 while one is taken, 422."""
    query = parse_query(request, ProfileQuery)
    stop = request.app[PHASE].stop
    text = await request.app[PROFILE].take(query.seconds, query.format, stop=stop)
    kind, name = ("text/html", "html") if query.format is Format.HTML else ("application/json", "speedscope.json")
    headers = {"Content-Disposition": f'attachment; filename="ccl-profile.{name}"', "Cache-Control": "no-store"}
    return web.Response(text=text, content_type=kind, headers=headers)


def _bounded(since: datetime, until: datetime, step: timedelta) -> None:
    if since >= until:
        raise ValidationFailed([FieldError(("from",), "order", "must lie before to", "query")])
    if (until - since) / step > MOST_POINTS:
        raise ValidationFailed([FieldError(("step",), "points", f"makes more than {MOST_POINTS} points", "query")])


async def _or_none(asked: Awaitable[T]) -> T | None:
    try:
        return await asked
    except CclError:
        return None


def uptime(app: web.Application) -> float:
    """Seconds since the application was put together."""
    return round(asyncio.get_running_loop().time() - app[STARTED], 2)


def observe_process(app: web.Application, settings: Settings, *, role: Role) -> None:
    """Gauges that are read whenever metrics are collected."""
    metrics, phase, db = app[METRICS], app[PHASE], app[DB]
    metrics.gauge("ccl_build_info", 1, VERSION, settings.ccl_revision, role)
    metrics.gauge_from("ccl_http_in_flight", lambda: phase.in_flight)
    if isinstance(db, PoolDb):
        metrics.gauge("ccl_db_connections_max", db.size)
        metrics.gauge_from("ccl_db_connections_in_use", lambda: db.in_use)
        metrics.gauge_from("ccl_db_waiters", lambda: db.waiting)
    metrics.count_from("ccl_log_lines_lost", lambda: current_sink().lost)
    watch_memory(metrics)
    watch_disks(metrics)


def loops(app: web.Application, settings: Settings, instance: Instance, *, fits: Fits) -> tuple[Worker, ...]:
    """What every process does for its own observation."""
    metrics, db = app[METRICS], app[DB]
    found = [
        Worker("loop-lag", LoopLag(metrics).run, serves=True),
        Worker("health", HealthSampler(app[HEALTH], metrics).run, serves=True),
        Worker("performance", Publisher(db, instance.pod, metrics.windows, fits=fits).run, serves=True),
        Worker("history", history.Recorder(db, instance, metrics, fits=fits).run, serves=True),
    ]
    if settings.public_base_url and settings.public_base_url.startswith("https://"):
        found.append(Worker("certificate", CertificateWatch(metrics, settings.public_base_url).run, serves=True))
    return tuple(found)


def queue_loop(app: web.Application, db: Db, tables: Sequence[WorkTable], metrics: Metrics) -> Worker:
    """What a process that does background work observes besides."""
    sampler = QueueSampler(db, tables, metrics, clock=asyncio.get_running_loop().time)
    app[HEALTH].queues = sampler
    return Worker("queues", sampler.run, serves=True)


def routes() -> tuple[Route, ...]:
    """The rows of this module. Never turned away under load, when they are needed most: a limit keeps them cheap."""
    rows = (
        _watched("/metrics", metrics, "This process's metrics as JSON", response=MetricsView),
        _watched(
            "/metrics/prometheus",
            prometheus,
            "This process's metrics for Prometheus",
            scope=Scope.METRICS_SCRAPE,
            produces="text/plain",
            example='ccl_http_requests_total{method="GET",route="/live",status="200"} 17.0',
        ),
        _watched(
            "/performance", performance, "Rates, errors and percentiles of process and fleet", response=PerformanceView
        ),
        _watched(
            "/history", get_history, "One metric of the fleet over time", query=HistoryQuery, response=HistoryView
        ),
    )
    take = Route(
        "GET",
        f"{BASE}/profile",
        profile,
        Auth.ROOT_KEY,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
        query=ProfileQuery,
        produces="text/html",
        also=(Answer(200, Speedscope),),
        sends=(
            Header("Content-Disposition", "Under which name to keep it.", 'attachment; filename="ccl-profile.html"'),
        ),
        errors=(Conflict,),
        summary="What this process does for some seconds, as a flame graph",
    )
    return (*rows, take)


def _watched(
    path: str,
    handler: Handler,
    summary: str,
    *,
    scope: Scope = Scope.MONITORING_READ,
    query: type[BaseModel] | None = None,
    response: type[BaseModel] | None = None,
    produces: str = JSON,
    example: str = "",
) -> Route:
    return Route(
        "GET",
        BASE + path,
        handler,
        Auth.KEY,
        LimitClass.MONITORING,
        priority=Priority.PROBE,
        scope=scope,
        query=query,
        response=response,
        produces=produces,
        example=example,
        summary=summary,
    )
