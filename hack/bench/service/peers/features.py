"""What no framework brings, for both peers alike: keys, limits, metrics and log lines, as plainly as they can be.

Data and pure rules (statements, problem documents, headers, the form of a key) are the service's own, so that answers
can be compared. Everything that takes time on the path of a request is written anew, in the cheapest of the usual
ways: counters in a dictionary, the Prometheus client, structlog as its page on performance advises.
"""

import hmac
import math
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol
from uuid import uuid4

import asyncpg
import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from ccl_service.platform.api_keys.model import Grant, prefix_of
from ccl_service.platform.api_keys.sql import GRANT
from ccl_service.platform.middleware import SECURITY_HEADERS
from ccl_service.platform.problems import MissingScope, RateLimited, Unauthenticated
from ccl_service.platform.route import Scope
from ccl_service.platform.telemetry.logs import LEVELS
from ccl_service.platform.telemetry.metrics import REQUEST_BUCKETS

SECURITY: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
REMEMBER_SECONDS: Final = 3.0
#: As ASGI has it; each framework has a type of its own for messages.
Send = Callable[[Any], Awaitable[None]]
ANYBODY: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Settings:
    """The variables of the service that matter here."""

    database_url: str
    root_key: str
    origins: list[str]
    log_level: str
    most: int
    window_seconds: float

    @classmethod
    def load(cls) -> "Settings":
        """From the environment. Raises KeyError."""
        environ = os.environ
        return cls(
            database_url=environ["DATABASE_URL"],
            root_key=environ["INTERNAL_API_KEY"],
            origins=environ["CORS_ORIGIN"].split(","),
            log_level=environ["LOG_LEVEL"],
            most=int(environ["RATE_LIMIT_MAX_REQUESTS"]),
            window_seconds=int(environ["RATE_LIMIT_WINDOW_MS"]) / 1000,
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. ``per_minute``: a scoped key's own limit."""

    kind: str
    id: str
    scopes: frozenset[Scope]
    per_minute: int | None = None


ROOT: Final = Caller("root", "internal-api", ANYBODY)


@dataclass(slots=True)
class Keys:
    """The root key, and scoped keys by their prefix: digests from the database, remembered for a few seconds."""

    root: bytes
    pool: "asyncpg.Pool[Any]"
    _known: dict[str, tuple[float, Grant | None]] = field(default_factory=dict)

    async def caller(self, key: str) -> Caller | None:
        """Whose key this is; None for nobody's."""
        prefix = prefix_of(key)
        if prefix is None:
            return ROOT if hmac.compare_digest(key.encode(), self.root) else None
        until, grant = self._known.get(prefix, (0.0, None))
        if until <= time.monotonic():
            grant = await self._ask(prefix)
            self._known[prefix] = time.monotonic() + REMEMBER_SECONDS, grant
        if grant is None or not grant.opens_with(key):
            return None
        return Caller("key", str(grant.key_id), grant.scopes, grant.per_minute)

    async def _ask(self, prefix: str) -> Grant | None:
        row = await self.pool.fetchrow(GRANT, prefix)
        return row and Grant(row["id"], frozenset(map(Scope, row["scopes"])), row["per_minute"], row["hash"])


def bearer(authorization: str) -> str | None:
    """The key of an ``Authorization: Bearer`` header."""
    scheme, _, value = authorization.partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


def permitted(caller: Caller | None, scope: Scope) -> Caller:
    """The caller, when it may. Raises Unauthenticated, MissingScope."""
    if caller is None:
        raise Unauthenticated
    if scope not in caller.scopes:
        raise MissingScope(f"the key lacks the scope {scope}")
    return caller


@dataclass(slots=True)
class Limits:
    """Fixed windows, counted here."""

    most: int
    seconds: float
    _window: int = 0
    _counts: dict[str, int] = field(default_factory=dict)

    def check(self, address: str, caller: Caller | None) -> Mapping[str, str]:
        """Count one request; the headers that say what is left. Raises RateLimited."""
        if caller is not None and caller.per_minute is not None:
            name, subject, most, seconds = "key", caller.id, caller.per_minute, 60.0
        else:
            name, subject, most, seconds = "default", address, self.most, self.seconds
        now = time.time()
        if int(now // self.seconds) != self._window:
            self._window = int(now // self.seconds)
            self._counts.clear()
        used = self._counts[subject] = self._counts.get(subject, 0) + 1
        rest = max(1, math.ceil((self._window + 1) * self.seconds - now))
        told = {
            "RateLimit": f'"{name}";r={max(0, most - used)};t={rest}',
            "RateLimit-Policy": f'"{name}";q={most};w={seconds:.0f}',
        }
        if used > most:
            raise RateLimited(f"{most} in {seconds:.0f} s", delay=timedelta(seconds=rest), limit=name, standing=told)
        return told


class Line(Protocol):
    """What an access line is written with."""

    def info(self, event: str, **fields: object) -> Any:
        """One line."""


@dataclass(slots=True)
class Watched:
    """One request on its way: its id, what its answer's headers tell, who called."""

    request_id: str
    started: float
    told: dict[str, str] = field(default_factory=dict)
    caller: Caller | None = None
    #: Of the answer; that of a crash until there is one.
    status: int = 500

    def telling(self, send: Send) -> Send:
        """An ASGI ``send`` that puts the headers on and notes the status."""

        async def put_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                message["headers"] = [*message["headers"], *self.headers()]
            await send(message)

        return put_headers

    def headers(self) -> list[tuple[bytes, bytes]]:
        """What goes on every answer."""
        told = [(name.lower().encode(), value.encode()) for name, value in self.told.items()]
        return [*SECURITY, (b"x-request-id", self.request_id.encode()), *told]


class Watch:
    """Rate, errors and duration by route template; one line for each answer from level info on."""

    def __init__(self, level: str) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter("http_requests", "Requests", ("method", "route", "status"), registry=self.registry)
        self._seconds = Histogram(
            "http_request_seconds", "Duration", ("method", "route"), registry=self.registry, buckets=REQUEST_BUCKETS
        )
        self._line = access_line(level)

    @staticmethod
    def begin(given: str | None) -> Watched:
        """A request has begun; ``given`` is the id that it came with."""
        usable = given is not None and 8 <= len(given) <= 64 and given.replace("-", "").isalnum() and given.isascii()
        return Watched(given if given is not None and usable else uuid4().hex, time.perf_counter())

    def end(self, watched: Watched, method: str, route: str) -> None:
        """It has been answered."""
        seconds = time.perf_counter() - watched.started
        self._answers.labels(method, route, watched.status).inc()
        self._seconds.labels(method, route).observe(seconds)
        caller = watched.caller
        self._line.info(
            "request",
            action="http:request:answered",
            request_id=watched.request_id,
            principal=caller.kind if caller else "public",
            principal_id=caller.id if caller else "",
            method=method,
            route=route,
            status=watched.status,
            took_ms=round(seconds * 1000, 2),
        )


def access_line(level: str) -> Line:
    """structlog's fastest configuration (structlog.org, "Performance"); lines below ``level`` cost a call."""
    structlog.configure(
        cache_logger_on_first_use=True,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        logger_factory=structlog.BytesLoggerFactory(),
    )
    bound: Line = structlog.get_logger().bind()
    return bound


def _encode(event: object, **_: object) -> bytes:
    return msgspec.json.encode(event)
