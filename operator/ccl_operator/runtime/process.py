"""The operator's process: wires everything together, runs it, stops it cleanly. The only module that knows all others.

Order at start: permissions, listings of everything, only then workers and kopf, so that no pass ever sees half a cache.
Order at stop: workers finish the pass that is under way, then the watches go.
"""

import asyncio
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import SystemRandom
from typing import Any, Final

import structlog

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.config import Config
from ccl_operator.runtime import access, credentials, owners
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import ApiError
from ccl_operator.runtime.events import Events
from ccl_operator.runtime.health import Health
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.prober import Prober
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.reconcile import Reconciler
from ccl_operator.runtime.references import References
from ccl_operator.runtime.reflector import Reflector, Sink
from ccl_operator.runtime.sinks import ChildSink, WatchedSecretSink
from ccl_operator.runtime.workers import Workers
from ccl_operator.runtime.writer import Writer

WORKERS: Final = 4
#: A pass in flight at SIGTERM gets this long, in seconds.
STOP_GRACE: Final = 3.0
#: The charts of CRDs and operator may be installed at the same time; seconds.
CRD_PATIENCE: Final = 60.0
OURS: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"

log = structlog.get_logger(__name__)


class CrdMissing(Exception):
    """The API server does not know our kind."""


@dataclass(frozen=True)
class Options:
    """What the command line says. ``namespaces`` empty: all of them."""

    namespaces: tuple[str, ...]
    health_port: int


async def run(options: Options, environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code: 0 after a signal, 1 when it cannot go on."""
    stop = asyncio.Event()
    _on_signals(stop)
    try:
        configuration = await credentials.load(environment)
        metrics = Metrics()
        async with Client(configuration, metrics, time.monotonic) as client:
            if await _blind(client, options.namespaces):
                return 1
            await _crd_served(client, stop)
            operator = Operator(client, configuration, metrics, options, environment)
            return await operator.run(stop)
    except (credentials.NoCluster, CrdMissing, ApiError, OSError) as error:
        log.error("cannot start", action="start.failed", error=str(error))
        return 1


async def _blind(client: Client, namespaces: Sequence[str]) -> bool:
    """Name every missing permission; True when one is missing without which nothing can be watched."""
    missing = await access.missing(client, namespaces)
    for one in missing:
        log.error("permission is missing", action="access.missing", permission=str(one), vital=one.vital)
    return any(one.vital for one in missing)


async def _crd_served(client: Client, stop: asyncio.Event) -> None:
    """Wait until the API server tells of our kind. Raises CrdMissing, TryLater."""
    deadline = time.monotonic() + CRD_PATIENCE
    while not stop.is_set() and not await client.discovers(names.OWNER):
        if time.monotonic() > deadline:
            raise CrdMissing(f"{names.OWNER.plural}.{names.OWNER.group} is not served: install the chart ccl-crds")
        await asyncio.sleep(0.5)


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _now() -> datetime:
    return datetime.now(UTC)


class Operator:
    """All parts of one running operator."""

    def __init__(
        self,
        client: Client,
        configuration: Any,
        metrics: Metrics,
        options: Options,
        environment: Mapping[str, str],
    ) -> None:
        clock, random = time.monotonic, SystemRandom().random
        self._configuration, self._options = configuration, options
        self._cache = Cache()
        self._queue = WorkQueue(clock)
        self._references = References(client, self._cache, clock)
        self._owners = owners.Owners(client, self._cache, self._queue, self._references, options.namespaces)
        self._prober = Prober(self._cache, metrics, clock=clock, now=_now, enqueue=self._queue.add)
        instance = environment.get("POD_NAME", names.FIELD_MANAGER)
        events = Events(client, metrics, instance, clock=clock, now=_now, unique=partial(secrets.token_hex, 8))
        reconciler = Reconciler(
            cache=self._cache,
            writer=Writer(client, self._cache),
            references=self._references,
            prober=self._prober,
            events=events,
            metrics=metrics,
            config=Config.from_environment(environment),
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
        self._health = Health(metrics, self._reflectors, lambda: self._ready)

    async def run(self, stop: asyncio.Event) -> int:
        """Run until ``stop`` is set (0) or a part fails (1)."""
        async with self._health.serving(self._options.health_port):
            watches = [_task(one.run(), f"watch {one.resource.plural}") for one in self._reflectors]
            try:
                await self._fill(stop)
                return 0 if stop.is_set() else await self._work(stop, watches)
            finally:
                await _cancel(watches)

    async def _fill(self, stop: asyncio.Event) -> None:
        stopped = _task(stop.wait(), "stop")
        await self._owners.relist()
        filled = _task(asyncio.gather(*(one.synced.wait() for one in self._reflectors)), "first listings")
        await asyncio.wait((filled, stopped), return_when=asyncio.FIRST_COMPLETED)
        await _cancel([filled, stopped])

    async def _work(self, stop: asyncio.Event, watches: Sequence[asyncio.Task[Any]]) -> int:
        workers = [_task(self._workers.run(), f"worker {number}") for number in range(WORKERS)]
        helpers = [_task(self._prober.run(), "prober"), _task(self._owners.relist_for_ever(), "re-list")]
        stopping, stop_kopf = _task(stop.wait(), "stop"), asyncio.Event()
        watching = owners.watch(
            self._owners, self._configuration, self._options.namespaces, stop_kopf, lambda: _on_signals(stop)
        )
        kopf = _task(watching, "kopf")
        self._ready = True
        log.info("working", action="start.done", namespaces=self._options.namespaces or "all")
        parts = (*workers, *helpers, *watches, kopf)
        await asyncio.wait((stopping, *parts), return_when=asyncio.FIRST_COMPLETED)
        code = _report_ended(parts)
        self._ready = False
        self._queue.close()
        await asyncio.wait(workers, timeout=STOP_GRACE)
        stop_kopf.set()
        await _cancel([*workers, *helpers, stopping])
        await asyncio.wait((kopf,), timeout=STOP_GRACE)
        await _cancel([kopf])
        return code

    def _make_reflectors(
        self, client: Client, clock: Callable[[], float], random: Callable[[], float]
    ) -> tuple[Reflector, ...]:
        scopes: Sequence[str | None] = self._options.namespaces or (None,)
        watched = WatchedSecretSink(self._references, self._queue.add)
        kinds: list[tuple[Resource, str, Sink]] = [
            (kind, OURS, ChildSink(self._cache, kind, self._queue.add)) for kind in names.CHILDREN
        ]
        kinds.append((names.SECRET, names.WATCH_LABEL, watched))
        return tuple(
            Reflector(client, kind, scope, selector, sink, clock=clock, random=random)
            for scope in scopes
            for kind, selector, sink in kinds
        )


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
