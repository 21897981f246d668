"""Wires all parts of one operator together, starts them in order, stops them in order. Knows all other modules.

Order at start: what ``start`` checks, listings of everything, then kopf and the wait for the Lease; only who holds it
works. A standby's cache is as warm as the leader's. Order at stop: workers finish the pass that is under way, its
events are sent, the Lease is let go, then the watches go.
"""

import asyncio
import gc
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import SystemRandom
from typing import Any, Final

import structlog

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.config import Config
from ccl_operator.runtime import owners, start, watchdog
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.events import Events
from ccl_operator.runtime.health import Health
from ccl_operator.runtime.lease import Elector
from ccl_operator.runtime.metrics import Conditions, Metrics
from ccl_operator.runtime.permit import Permit
from ccl_operator.runtime.prober import Prober
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.reconcile import Reconciler
from ccl_operator.runtime.references import References
from ccl_operator.runtime.reflector import Reflector, Sink
from ccl_operator.runtime.sinks import ChildSink, OptionalChildSink, WatchedSecretSink
from ccl_operator.runtime.start import CannotStart
from ccl_operator.runtime.workers import Workers
from ccl_operator.runtime.writer import Writer

__all__ = ["CannotStart", "Operator", "Place"]

WORKERS: Final = 4
#: Passes in flight at SIGTERM, and events not sent yet, get this long, in seconds: others wait for the Lease meanwhile.
PASS_GRACE: Final = 1.5
#: What kopf gets to end its watches, in seconds.
KOPF_GRACE: Final = 3.0
OURS: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """Where the operator works (``namespaces`` empty: in all) and as who."""

    namespaces: tuple[str, ...]
    lease_namespace: str
    lease: str
    identity: str


def _now() -> datetime:
    return datetime.now(UTC)


class Operator:
    """All parts of one running operator."""

    def __init__(
        self,
        client: Client,
        permit: Permit,
        *,
        configuration: Any,
        metrics: Metrics,
        place: Place,
        config: Config,
    ) -> None:
        clock, random = time.monotonic, SystemRandom().random
        self._client, self._configuration, self._place, self._permit = client, configuration, place, permit
        self._metrics, self._cache = metrics, Cache()
        self._queue = WorkQueue(clock)
        # A standby's queue only grows: it starts with everything the day it leads.
        metrics.queue_depth.set_function(lambda: float(len(self._queue) if permit.remaining() > 0 else 0))
        metrics.registry.register(Conditions(self._cache.owners))
        self._references = References(client, self._cache, clock)
        self._watch_failures = metrics.watch_failures.labels(names.OWNER.plural)
        self._owners = owners.Owners(
            client,
            self._cache,
            self._queue,
            self._references,
            place.namespaces,
            clock=clock,
            failures=self._watch_failures,
        )
        self._prober = Prober(self._cache, metrics, clock=clock, now=_now, enqueue=self._queue.add)
        self._elector = Elector(
            client,
            permit,
            namespace=place.lease_namespace,
            name=place.lease,
            identity=place.identity,
            clock=clock,
            now=_now,
        )
        metrics.leader.set_function(lambda: float(permit.remaining() > 0))
        self._events = Events(
            client, metrics, place.identity, clock=clock, now=_now, unique=partial(secrets.token_hex, 8)
        )
        reconciler = Reconciler(
            cache=self._cache,
            writer=Writer(client, self._cache),
            references=self._references,
            prober=self._prober,
            events=self._events,
            config=config,
            now=_now,
            entropy=secrets.token_bytes,
        )
        self._workers = Workers(
            queue=self._queue,
            reconciler=reconciler,
            references=self._references,
            cache=self._cache,
            metrics=metrics,
            backoff=Backoff(first=1.0, longest=120.0, random=random),
            clock=clock,
            now=_now,
        )
        self._reflectors = self._make_reflectors(client, clock, random)
        self._ready = False
        self._health = Health(metrics, (*self._reflectors, self._owners), lambda: self._ready)

    @classmethod
    @asynccontextmanager
    async def connected(cls, configuration: Any, place: Place, config: Config) -> AsyncIterator["Operator"]:
        """An operator with a client of its own, which closes with the block."""
        metrics, permit = Metrics(), Permit(time.monotonic)
        told: dict[str, Any] = {"permit": permit, "identity": place.identity, "pace": config.pace}
        async with Client(configuration, metrics, time.monotonic, **told) as client:
            yield cls(client, permit, configuration=configuration, metrics=metrics, place=place, config=config)

    async def run(self, stop: asyncio.Event, health_port: int, on_spawned: Callable[[], None]) -> int:
        """Run until ``stop`` is set (0) or a part fails (1). ``on_spawned``: see ``owners.watch``.

        Raises CannotStart, and TryLater when the API server does not answer for minutes.
        """
        place = self._place
        async with self._health.serving(health_port):
            await start.checks(
                self._client, stop, place.namespaces, lease_namespace=place.lease_namespace, lease=place.lease
            )
            if stop.is_set():
                return 0
            watches = [_task(one.run(), f"watch {one.resource.plural}") for one in self._reflectors]
            try:
                await self._fill(stop)
                # What is there now stays. Else each full collection would go through all of it, and everything would
                # stand still for a tenth of a second.
                gc.collect()
                gc.freeze()
                return 0 if stop.is_set() else await self._work(stop, watches, on_spawned)
            finally:
                await _cancel(watches)

    async def _fill(self, stop: asyncio.Event) -> None:
        stopped = _task(stop.wait(), "stop")
        await start.patiently(self._owners.relist, stop)
        filled = _task(asyncio.gather(*(one.synced.wait() for one in self._reflectors)), "first listings")
        await asyncio.wait((filled, stopped), return_when=asyncio.FIRST_COMPLETED)
        await _cancel([filled, stopped])

    async def _work(
        self, stop: asyncio.Event, watches: Sequence[asyncio.Task[Any]], on_spawned: Callable[[], None]
    ) -> int:
        elector = _task(self._elector.run(), "lease")
        workers = [_task(self._leading(), f"worker {number}") for number in range(WORKERS)]
        poster = _task(self._events.run(), "events")
        helpers = [
            _task(self._prober.run(), "prober"),
            _task(self._owners.relist_for_ever(), "re-list"),
            _task(self._health.watch(), "hearing"),
        ]
        stopping, stop_kopf = _task(stop.wait(), "stop"), asyncio.Event()
        kopf = [_task(self._watch(scope, stop_kopf, on_spawned), "kopf") for scope in self._place.namespaces or (None,)]
        self._ready = True
        log.info("working", action="start.done", namespaces=self._place.namespaces or "all")
        parts = (elector, *workers, poster, *helpers, *watches, *kopf)
        with watchdog.watching(self._elector.is_overdue):
            await asyncio.wait((stopping, *parts), return_when=asyncio.FIRST_COMPLETED)
            code = _report_ended(parts)
            self._ready = False
            await self._let_go(elector, workers, poster)
            stop_kopf.set()
            await _cancel([*helpers, stopping])
            await asyncio.wait(kopf, timeout=KOPF_GRACE)
            await _cancel(kopf)
        return code

    async def _watch(self, namespace: str | None, stop: asyncio.Event, on_spawned: Callable[[], None]) -> None:
        run = partial(
            owners.watch,
            self._owners,
            self._configuration,
            namespace,
            stop=stop,
            on_spawned=on_spawned,
            identity=self._place.identity,
        )
        backoff = Backoff(first=1.0, longest=30.0, random=SystemRandom().random)
        failures = self._watch_failures
        await owners.watch_steadily(
            run, self._owners.relist_if_possible, backoff=backoff, clock=time.monotonic, failures=failures
        )

    async def _leading(self) -> None:
        await self._elector.held.wait()
        await self._workers.run()

    async def _let_go(
        self, elector: asyncio.Task[Any], workers: Sequence[asyncio.Task[Any]], poster: asyncio.Task[Any]
    ) -> None:
        self._queue.close()
        if self._permit.remaining() > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(PASS_GRACE):
                    await self._finish(workers, poster)
        await _cancel([*workers, poster, elector])
        await self._elector.release()

    async def _finish(self, workers: Sequence[asyncio.Task[Any]], poster: asyncio.Task[Any]) -> None:
        await asyncio.wait(workers)
        self._events.close()
        await asyncio.wait([poster])

    def _make_reflectors(
        self, client: Client, clock: Callable[[], float], random: Callable[[], float]
    ) -> tuple[Reflector, ...]:
        scopes: Sequence[str | None] = self._place.namespaces or (None,)
        watched = WatchedSecretSink(self._references, self._queue.add)
        kinds: list[tuple[Resource, str, Sink]] = [
            (kind, OURS, ChildSink(self._cache, kind, self._queue.add))
            for kind in names.CHILDREN
            if kind not in names.OPTIONAL
        ]
        kinds.append((names.SECRET, names.WATCH_LABEL, watched))
        shared: dict[str, Any] = {"clock": clock, "random": random, "failures": self._metrics.watch_failures}
        found = [
            Reflector(client, kind, scope, selector, sink, **shared)
            for scope in scopes
            for kind, selector, sink in kinds
        ]
        optional = [OptionalChildSink(self._cache, kind, self._queue.add) for kind in names.OPTIONAL]
        found += [
            Reflector(client, sink.resource, scope, OURS, sink, absent=sink.absent, **shared)
            for scope in scopes
            for sink in optional
        ]
        return tuple(found)


def _task(coroutine: Coroutine[Any, Any, Any] | asyncio.Future[Any], name: str) -> asyncio.Task[Any]:
    async def awaited() -> Any:
        return await coroutine

    return asyncio.create_task(awaited(), name=name)


def _report_ended(parts: Sequence[asyncio.Task[Any]]) -> int:
    """None of the parts ends by itself: one that did is a reason to start the process anew."""
    code = 0
    for part in parts:
        if part.done():
            error = None if part.cancelled() else part.exception()
            log.error("a part ended", action="run.failed", part=part.get_name(), error=repr(error))
            code = 1
    return code


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
