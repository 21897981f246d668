"""Opens what every process needs and puts the application on top of it; features come in as routes.

Which features there are is ``ccl_service.main``'s business.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from aiohttp import web

from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.checks.catalog import register_all
from ccl_service.platform.checks.verdict import Subject
from ccl_service.platform.config import Settings
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.health import DatabaseProbe
from ccl_service.platform.http import CLOCK, DB, Clock, Platform, Route, build_app
from ccl_service.platform.instances import Heartbeat, Instance
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.lifecycle import Worker
from ccl_service.platform.limits import Limit, LimitClass, Limiter, RedisCounts
from ccl_service.platform.monitoring import CHECKS, PROBE, REDIS, ROLE, STARTED, routes
from ccl_service.platform.moving import ROUTES as MOVING
from ccl_service.platform.openapi import openapi_route
from ccl_service.platform.phase import Phase, Role
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.readiness import CheckFn, CheckRegistry
from ccl_service.platform.telemetry import Metrics
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
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        db = await _open_db(settings, stack)
        redis = await _open_redis(settings, stack)
        keys = KeyRing(
            settings.keys,
            monitor=settings.monitor_key_file,
            on_unreadable=lambda name: metrics.count("ccl_key_read_failures", name),
        )
        limiter = Limiter(
            _limits(settings),
            clock=lambda: clock().timestamp(),
            shared=redis,
            on_shared_failure=lambda: metrics.count("ccl_limit_sync_failures"),
        )
        phase = Phase()
        directory = Directory(db, clock=asyncio.get_running_loop().time)
        platform = Platform(
            settings=settings,
            db=db,
            keys=keys,
            directory=directory,
            limiter=limiter,
            metrics=metrics,
            clock=clock,
            phase=phase,
        )
        table = (*routes(metrics_enabled=settings.metrics_enabled), *MOVING, *features)
        app = build_app(platform, (*table, openapi_route(table, version=VERSION)))
        await _add_monitoring(app, settings, stack, role=role, redis=redis, checks=checks)
        beat = Heartbeat(db, Instance(_pod(settings), settings.ccl_revision, role))
        own = (
            Worker("keys", keys.run),
            Worker("key-use", directory.run),
            Worker("limits", limiter.run),
            Worker("heartbeat", beat.run),
        )
        yield Service(app, own, metrics, phase)


async def _open_db(settings: Settings, stack: contextlib.AsyncExitStack) -> PoolDb:
    size = PoolSize(
        connections=settings.db_pool_size,
        idle=timedelta(milliseconds=settings.db_idle_timeout_ms),
        connect=timedelta(milliseconds=settings.db_connect_timeout_ms),
    )
    db = PoolDb(settings.database_url.get_secret_value(), size)
    await db.open()
    stack.push_async_callback(db.close)
    return db


async def _open_redis(settings: Settings, stack: contextlib.AsyncExitStack) -> RedisCounts | None:
    if settings.redis_url is None:
        return None
    redis = RedisCounts(settings.redis_url.get_secret_value())
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
    loop = asyncio.get_running_loop()
    probe = DatabaseProbe(settings.database_url.get_secret_value(), clock=loop.time)
    stack.push_async_callback(probe.close)
    app[PROBE], app[CHECKS], app[ROLE], app[STARTED] = probe, registry, role, loop.time()
    if redis is not None:
        app[REDIS] = redis


def _limits(settings: Settings) -> Mapping[LimitClass, Limit]:
    window = timedelta(milliseconds=settings.rate_limit_window_ms)
    default = Limit(settings.rate_limit_max_requests, window)
    return {
        LimitClass.DEFAULT: default,
        LimitClass.FAILURES: default,
        LimitClass.MONITORING: Limit(120, timedelta(minutes=1)),
        LimitClass.CHAT: Limit(60, timedelta(minutes=1)),
    }


def _pod(settings: Settings) -> str:
    return settings.pod_name or f"{socket.gethostname()}:{settings.port}"
