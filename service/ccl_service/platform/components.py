"""The health report: every component with its state, how long it took to answer and how old the answer is.

Only the database and the way out make a process unfit to serve; the rest degrades it. Strangers learn the overall state
and those of database and Redis; what stands behind them is for keys.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.dependencies import Dependencies
from ccl_service.platform.health import DatabaseProbe
from ccl_service.platform.phase import Phase
from ccl_service.platform.queues import QueueSampler
from ccl_service.platform.redis_counts import RedisCounts
from ccl_service.platform.telemetry import Metrics

REDIS_SECONDS: Final = 1.0
#: Redis is asked at most this often, however many ask us.
REDIS_CACHE_SECONDS: Final = 2.0
#: How often the states become gauges.
SAMPLE_SECONDS: Final = 10.0
#: States that count as working.
_GOOD: Final = frozenset({"up", "unused"})
_PUBLIC: Final = frozenset({"database", "redis"})


@dataclass(frozen=True, slots=True)
class Component:
    """``state``: up, down, incompatible, degraded or unused. ``critical``: without it nothing can be served."""

    name: str
    state: str
    critical: bool = False
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether it works, or is not needed."""
        return self.state in _GOOD


@dataclass(frozen=True, slots=True)
class Health:
    """All components at one moment. ``status``: healthy, degraded, unhealthy or draining."""

    status: str
    components: tuple[Component, ...]

    @property
    def fit(self) -> bool:
        """Whether the process should get requests."""
        return self.status in {"healthy", "degraded"}

    def document(self, *, details: bool) -> dict[str, Any]:
        """As JSON shows it to a stranger, or with ``details`` to a key."""
        shown = [one for one in self.components if details or one.name in _PUBLIC]
        return {
            "status": self.status,
            "components": {one.name: {"state": one.state, **(one.details if details else {})} for one in shown},
        }


def judge(components: tuple[Component, ...], *, draining: bool) -> Health:
    """The overall state: the worst that counts."""
    if draining:
        return Health("draining", components)
    if any(one.critical and not one.good for one in components):
        return Health("unhealthy", components)
    return Health("healthy" if all(one.good for one in components) else "degraded", components)


class HealthCheck:
    """Asks every component. ``clock`` in seconds, monotonic."""

    def __init__(
        self,
        probe: DatabaseProbe,
        db: Db,
        redis: RedisCounts | None,
        dependencies: Dependencies,
        *,
        phase: Phase,
        clock: Callable[[], float],
    ) -> None:
        self._probe, self._db, self._redis = probe, db, redis
        self._dependencies, self._phase, self._clock = dependencies, phase, clock
        #: Set where background work is done.
        self.queues: QueueSampler | None = None
        self._redis_asking = asyncio.Lock()
        self._redis_last: tuple[float, float, str] | None = None

    async def run(self) -> Health:
        """Every component; bounded in time by the probes' own limits."""
        database, redis = await asyncio.gather(self._database(), self._redis_component())
        providers = tuple(
            Component(one.name, "down" if one.open else "up", details=one.report()) for one in self._dependencies
        )
        queues = (self._queue_component(self.queues),) if self.queues else ()
        return judge((database, redis, *providers, *queues), draining=self._phase.draining)

    async def _database(self) -> Component:
        found = await self._probe.check()
        details = {
            "latency_ms": found.latency_ms,
            "age_s": round(self._clock() - found.checked_at, 2),
            "reason": found.reason,
            "pool": _pool(self._db),
        }
        return Component("database", found.state, critical=True, details=details)

    async def _redis_component(self) -> Component:
        if self._redis is None:
            return Component("redis", "unused")
        async with self._redis_asking:
            now = self._clock()
            if self._redis_last is None or now - self._redis_last[0] >= REDIS_CACHE_SECONDS:
                self._redis_last = await self._ask_redis(self._redis, now)
            at, seconds, state = self._redis_last
        details = {"latency_ms": round(seconds * 1000, 2), "age_s": round(self._clock() - at, 2)}
        return Component("redis", state, details=details)

    async def _ask_redis(self, redis: RedisCounts, started: float) -> tuple[float, float, str]:
        try:
            async with asyncio.timeout(REDIS_SECONDS):
                await redis.ping()
        except (OSError, TimeoutError):
            return self._clock(), self._clock() - started, "down"
        return self._clock(), self._clock() - started, "up"

    def _queue_component(self, queues: QueueSampler) -> Component:
        state = "degraded" if queues.behind else "up"
        return Component("queues", state, details=queues.report(self._clock()))


def _pool(db: Db) -> Mapping[str, int]:
    return {"in_use": db.in_use, "size": db.size, "waiting": db.waiting} if isinstance(db, PoolDb) else {}


class HealthSampler:
    """Turns the states into gauges, so that an alert can be made of them."""

    def __init__(self, check: HealthCheck, metrics: Metrics) -> None:
        self._check, self._metrics = check, metrics

    async def sample(self) -> None:
        """Ask once."""
        for one in (await self._check.run()).components:
            if one.state != "unused":
                self._metrics.gauge("ccl_component_up", float(one.good), one.name)

    async def run(self, stop: asyncio.Event) -> None:
        """Ask until ``stop``."""
        while not stop.is_set():
            await self.sample()
            try:
                await asyncio.wait_for(stop.wait(), SAMPLE_SECONDS)
            except TimeoutError:
                continue
