"""Opens what every process needs and puts the application on top of it; features come in as routes.

Which features there are is ``ccl_service.main``'s business.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from aiohttp import web

from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.bounds import bounds
from ccl_service.platform.checks.catalog import register_all
from ccl_service.platform.checks.verdict import Subject
from ccl_service.platform.components import HealthCheck
from ccl_service.platform.config import Settings
from ccl_service.platform.db import PoolDb, PoolSize, PoolWatch
from ccl_service.platform.dependencies import Dependencies
from ccl_service.platform.description import DESCRIPTION, Description
from ccl_service.platform.health import DatabaseProbe
from ccl_service.platform.http import CLOCK, DB, PHASE, Clock, Platform, Route, build_app
from ccl_service.platform.instances import Heartbeat, Instance
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.lifecycle import Worker
from ccl_service.platform.limits import Limiter
from ccl_service.platform.monitoring import CHECKS, PROBE, ROLE
from ccl_service.platform.observability import DEPENDENCIES, HEALTH, PROFILE, STARTED, loops, observe_process
from ccl_service.platform.phase import Phase, Role
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.profiler import ProfileSlot
from ccl_service.platform.readiness import CheckFn, CheckRegistry
from ccl_service.platform.redis_counts import RedisCounts
from ccl_service.platform.replicas import Replicas
from ccl_service.platform.shedding import Shedder
from ccl_service.platform.table import whole_table
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.pool import MeasuredPool
from ccl_service.platform.telemetry.tracing import OtelTracer, open_tracer
from ccl_service.version import VERSION


@dataclass(frozen=True, slots=True)
class Service:
    """A wired process: the application, what runs beside it, and its metrics."""

    app: web.Application
    workers: tuple[Worker, ...]
    metrics: Metrics
    phase: Phase

    async def warm(self) -> None:
        """Open the first database connections, so that nobody waits for them; a database that is away is borne."""
        db = self.app[DB]
        if isinstance(db, PoolDb):
            with contextlib.suppress(DatabaseUnavailable):
                await db.warm()


def wall_clock() -> datetime:
    """Now, in UTC."""
    return datetime.now(UTC)


@contextlib.asynccontextmanager
async def open_platform(
    settings: Settings, *, role: Role, features: Iterable[Route], checks: Mapping[str, CheckFn], clock: Clock
) -> AsyncIterator[Service]:
    """Open the resources, build the application with ``features`` on it, close everything again in reverse.

    ``checks`` are further production-readiness checks by id. Touches the database nowhere yet.
    """
    async with contextlib.AsyncExitStack() as stack:
        redis = await _open_redis(settings, stack)
        probe = _open_probe(settings, stack)
        platform = await _open_resources(settings, stack, redis=redis, probe=probe, clock=clock)
        table = whole_table(features, metrics_enabled=settings.metrics_enabled)
        app = build_app(platform, table)
        app[DESCRIPTION] = Description(table, version=VERSION, bounds=bounds(settings))
        app[PROBE] = probe
        await _add_monitoring(app, settings, stack, role=role, redis=redis, checks=checks)
        app[DEPENDENCIES] = Dependencies(platform.metrics, asyncio.get_running_loop().time, platform.tracer)
        _add_observability(app, settings, role=role, redis=redis)
        instance = Instance(_pod(settings), settings.ccl_revision, role)
        yield Service(app, _workers(app, platform, instance, probe), platform.metrics, platform.phase)


async def _open_resources(
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    *,
    redis: RedisCounts | None,
    probe: DatabaseProbe,
    clock: Clock,
) -> Platform:
    metrics, loop = Metrics(), asyncio.get_running_loop()
    tracer = _open_tracer(settings, stack)
    db = await _open_db(settings, stack, MeasuredPool(metrics, tracer))
    replicas = await _open_replicas(settings, db, metrics, stack)
    keys = KeyRing(
        settings.keys,
        monitor=settings.monitor_key_file,
        on_unreadable=lambda name: metrics.count("ccl_key_read_failures", name),
    )
    limiter = Limiter(
        bounds(settings).limits,
        clock=lambda: clock().timestamp(),
        shared=redis,
        on_shared_failure=lambda: metrics.count("ccl_limit_sync_failures"),
    )
    return Platform(
        settings=settings,
        db=db,
        keys=keys,
        directory=Directory(db, clock=loop.time, fits=probe.fits),
        limiter=limiter,
        metrics=metrics,
        clock=clock,
        phase=Phase(),
        shedder=Shedder(loop.time, slots=db.size),
        replicas=replicas,
        tracer=tracer,
    )


def _workers(app: web.Application, platform: Platform, instance: Instance, probe: DatabaseProbe) -> tuple[Worker, ...]:
    """What keeps the resources up to date beside the requests."""
    replicas = platform.replicas
    return (
        Worker("keys", platform.keys.run, serves=True),
        Worker("key-use", platform.directory.run, serves=True),
        Worker("limits", platform.limiter.run, serves=True),
        Worker("heartbeat", Heartbeat(platform.db, instance, fits=probe.fits).run, serves=True),
        Worker("load", platform.shedder.run, serves=True),
        *((Worker("replicas", replicas.run, serves=True),) if replicas else ()),
        *(loops(app, platform.settings, instance, fits=probe.fits) if platform.settings.metrics_enabled else ()),
    )


async def _open_db(settings: Settings, stack: contextlib.AsyncExitStack, watch: PoolWatch) -> PoolDb:
    db = PoolDb(settings.database_url.get_secret_value(), _pool_size(settings), watch=watch)
    await db.open()
    stack.push_async_callback(db.close)
    return db


def _open_probe(settings: Settings, stack: contextlib.AsyncExitStack) -> DatabaseProbe:
    probe = DatabaseProbe(settings.database_url.get_secret_value(), clock=asyncio.get_running_loop().time)
    stack.push_async_callback(probe.close)
    return probe


async def _open_replicas(
    settings: Settings, db: PoolDb, metrics: Metrics, stack: contextlib.AsyncExitStack
) -> Replicas | None:
    pools = [
        PoolDb(url.get_secret_value(), _pool_size(settings), application="ccl-service read")
        for url in settings.database_replica_urls
    ]
    for pool in pools:
        await pool.open()
        stack.push_async_callback(pool.close)
    return Replicas(db, pools, metrics, clock=asyncio.get_running_loop().time) if pools else None


def _pool_size(settings: Settings) -> PoolSize:
    return PoolSize(
        connections=settings.db_pool_size,
        idle=timedelta(milliseconds=settings.db_idle_timeout_ms),
        connect=timedelta(milliseconds=settings.db_connect_timeout_ms),
    )


async def _open_redis(settings: Settings, stack: contextlib.AsyncExitStack) -> RedisCounts | None:
    if settings.redis_url is None:
        return None
    redis = RedisCounts(
        settings.redis_url.get_secret_value(),
        deployment=settings.ccl_deployment_id or "default",
        process=uuid4().hex,
    )
    stack.push_async_callback(redis.close)
    return redis


async def _add_monitoring(
    app: web.Application,
    settings: Settings,
    stack: contextlib.AsyncExitStack,
    *,
    role: Role,
    redis: RedisCounts | None,
    checks: Mapping[str, CheckFn],
) -> None:
    registry = CheckRegistry()
    stack.push_async_callback(registry.close)
    register_all(registry, Subject(settings, app[DB], redis, app[CLOCK]))
    for name, check in checks.items():
        registry.register(name, check)
    app[CHECKS], app[ROLE], app[STARTED] = registry, role, asyncio.get_running_loop().time()


def _open_tracer(settings: Settings, stack: contextlib.AsyncExitStack) -> OtelTracer | None:
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    tracer = open_tracer(
        settings.otel_exporter_otlp_endpoint,
        version=VERSION,
        revision=settings.ccl_revision,
        pod=_pod(settings),
    )
    stack.push_async_callback(asyncio.to_thread, tracer.close)
    return tracer


def _add_observability(app: web.Application, settings: Settings, *, role: Role, redis: RedisCounts | None) -> None:
    clock = asyncio.get_running_loop().time
    app[HEALTH] = HealthCheck(app[PROBE], app[DB], redis, app[DEPENDENCIES], phase=app[PHASE], clock=clock)
    app[PROFILE] = ProfileSlot()
    observe_process(app, settings, role=role)


def _pod(settings: Settings) -> str:
    return settings.pod_name or f"{socket.gethostname()}:{settings.port}"
