"""Keeps the cache in step with the API server: reflectors of children and labelled Secrets, kopf's watch of our own
kind. What changes there wakes the queue. Leader and standby alike run all of it.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from functools import partial
from random import SystemRandom
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.runtime import owners, start
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.health import Ear
from ccl_operator.runtime.metrics import Conditions, Metrics
from ccl_operator.runtime.place import Place
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.references import References
from ccl_operator.runtime.reflector import Reflector, Sink
from ccl_operator.runtime.sinks import ChildSink, OptionalChildSink, WatchedSecretSink
from ccl_operator.runtime.tasks import Task, cancel, task

OURS: Final = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


class Watches:
    """``cache``, ``queue`` and ``references`` are for who acts on what is known."""

    def __init__(self, client: Client, place: Place, metrics: Metrics) -> None:
        clock = time.monotonic
        self.cache, self.queue = Cache(), WorkQueue(clock)
        self.references = References(client, self.cache, clock)
        self._client, self._place, self._random = client, place, SystemRandom().random
        self._failures = metrics.watch_failures
        self._own_failures = metrics.watch_failures.labels(names.OWNER.plural)
        self._owners = owners.Owners(
            client,
            self.cache,
            self.queue,
            self.references,
            place.scopes,
            clock=clock,
            failures=self._own_failures,
        )
        self._reflectors = (*self._of_children(), *self._of_optional_children())
        metrics.registry.register(Conditions(self.cache.owners))

    @property
    def ears(self) -> tuple[Ear, ...]:
        """What can turn deaf."""
        return (*self._reflectors, self._owners)

    def start(self) -> list[Task]:
        """List and watch everything but our own kind, until cancelled."""
        return [task(one.run(), f"watch {one.resource.plural}") for one in self._reflectors]

    async def fill(self, stop: asyncio.Event) -> None:
        """List our own kind, and wait for the other listings, or ``stop``. Raises Forbidden, TryLater."""
        stopped = task(stop.wait(), "stop")
        await start.patiently(self._owners.relist, stop)
        filled = task(asyncio.gather(*(one.synced.wait() for one in self._reflectors)), "first listings")
        await asyncio.wait((filled, stopped), return_when=asyncio.FIRST_COMPLETED)
        await cancel([filled, stopped])

    def start_own_kind(self, configuration: Any, stop: asyncio.Event, on_spawned: Callable[[], None]) -> list[Task]:
        """Watch it until ``stop`` is set. ``configuration`` and ``on_spawned``: see ``owners.watch``."""
        return [
            task(self._watch_own_kind(configuration, scope, stop, on_spawned), "kopf") for scope in self._place.scopes
        ]

    async def relist_for_ever(self) -> None:
        """See ``Owners``."""
        await self._owners.relist_for_ever()

    async def _watch_own_kind(
        self, configuration: Any, namespace: str | None, stop: asyncio.Event, on_spawned: Callable[[], None]
    ) -> None:
        run = partial(
            owners.watch,
            self._owners,
            configuration,
            namespace,
            stop=stop,
            on_spawned=on_spawned,
            identity=self._place.identity,
        )
        await owners.watch_steadily(
            run,
            self._owners.relist_if_possible,
            backoff=Backoff(first=1.0, longest=30.0, random=self._random),
            clock=time.monotonic,
            failures=self._own_failures,
        )

    def _of_children(self) -> Iterator[Reflector]:
        kinds: list[tuple[Resource, str, Sink]] = [
            (kind, OURS, ChildSink(self.cache, kind, self.queue.add))
            for kind in names.CHILDREN
            if kind not in names.OPTIONAL
        ]
        kinds.append((names.SECRET, names.WATCH_LABEL, WatchedSecretSink(self.references, self.queue.add)))
        for scope in self._place.scopes:
            for kind, selector, sink in kinds:
                yield self._reflector(kind, scope, selector, sink)

    def _of_optional_children(self) -> Iterator[Reflector]:
        sinks = [OptionalChildSink(self.cache, kind, self.queue.add) for kind in names.OPTIONAL]
        for scope in self._place.scopes:
            for sink in sinks:
                yield self._reflector(sink.resource, scope, OURS, sink, absent=sink.absent)

    def _reflector(
        self, kind: Resource, scope: str | None, selector: str, sink: Sink, absent: Callable[[], None] | None = None
    ) -> Reflector:
        return Reflector(
            self._client,
            kind,
            scope,
            selector,
            sink,
            clock=time.monotonic,
            random=self._random,
            failures=self._failures,
            absent=absent,
        )
