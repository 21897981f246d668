"""The application around the route table, and what handlers need to know of the platform.

A feature declares ``ROUTES: tuple[Route, ...]`` (``platform.route``). What happens around a handler is
``platform.middleware``; bodies and answers are ``platform.body``.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from ccl_service.platform.admission import Admission
from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.auth import PRINCIPAL, Principal
from ccl_service.platform.body import json_reply, parse_json, parse_query, read_body
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.limits import LimitClass, Limiter
from ccl_service.platform.middleware import REQUEST_ID, Gate
from ccl_service.platform.phase import Phase
from ccl_service.platform.refusing import Refuser
from ccl_service.platform.replicas import Replicas
from ccl_service.platform.route import ROUTE, Auth, Priority, Route, Scope
from ccl_service.platform.shedding import Shedder
from ccl_service.platform.telemetry import Metrics, access_log
from ccl_service.platform.telemetry.requests import RequestObserver
from ccl_service.platform.telemetry.tracing import Tracer

__all__ = [
    "CLOCK",
    "DB",
    "DIRECTORY",
    "KEYS",
    "LIMITER",
    "METRICS",
    "PHASE",
    "PRINCIPAL",
    "REFUSER",
    "REQUEST_ID",
    "ROUTE",
    "SETTINGS",
    "Auth",
    "LimitClass",
    "Principal",
    "Priority",
    "Route",
    "Scope",
    "build_app",
    "json_reply",
    "parse_json",
    "parse_query",
    "read_body",
]

Clock = Callable[[], datetime]

SETTINGS: Final = web.AppKey("settings", Settings)
DB: Final = web.AppKey("db", Db)
KEYS: Final = web.AppKey("keys", KeyRing)
DIRECTORY: Final = web.AppKey("directory", Directory)
LIMITER: Final = web.AppKey("limiter", Limiter)
METRICS: Final = web.AppKey("metrics", Metrics)
PHASE: Final = web.AppKey("phase", Phase)
REFUSER: Final = web.AppKey("refuser", Refuser)
CLOCK: Final[web.AppKey[Clock]] = web.AppKey("clock")


@dataclass(frozen=True, slots=True)
class Platform:
    """The resources every application has."""

    settings: Settings
    db: Db
    keys: KeyRing
    directory: Directory
    limiter: Limiter
    metrics: Metrics
    clock: Clock
    phase: Phase
    shedder: Shedder
    replicas: Replicas | None = None
    tracer: Tracer | None = None


def build_app(platform: Platform, routes: Iterable[Route]) -> web.Application:
    """The application with ``routes`` and nothing else.

    Raises ValueError for a method and path that appear twice, and for an empty table.
    """
    table = tuple(routes)
    _check(table)
    gate = Gate(
        settings=platform.settings,
        admission=Admission(platform.keys, platform.directory, platform.limiter, platform.clock),
        observer=RequestObserver(platform.metrics, access_log(platform.settings.log_level), platform.tracer),
        phase=platform.phase,
        shedder=platform.shedder,
        replicas=platform.replicas,
    )
    app = web.Application(middlewares=[gate.middleware], client_max_size=platform.settings.body_limit_bytes)
    app.on_response_prepare.append(gate.put_headers)
    app[SETTINGS] = platform.settings
    app[DB] = platform.db
    app[KEYS] = platform.keys
    app[DIRECTORY] = platform.directory
    app[LIMITER] = platform.limiter
    app[METRICS] = platform.metrics
    app[CLOCK] = platform.clock
    app[PHASE] = platform.phase
    app[REFUSER] = Refuser(table, platform.shedder, platform.phase, platform.metrics)
    for row in table:
        for method in row.methods:
            gate.routes[app.router.add_route(method, row.template, row.handler)] = row
    return app


def _check(table: tuple[Route, ...]) -> None:
    if not table:
        raise ValueError("an application without routes")
    seen: set[tuple[str, str]] = set()
    for row in table:
        if (row.method, row.path) in seen:
            raise ValueError(f"{row.method} {row.path} appears twice")
        seen.add((row.method, row.path))
