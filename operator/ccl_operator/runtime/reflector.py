"""Keeps one kind in step with the API server: paged LIST that replaces, then WATCH with bookmarks, for ever.

Survives every end of a stream: clean end (watch on), 410 (list again), error, silence, no server (back-off). Knows
nothing of what the objects mean; that is its ``Sink``'s business.
"""

import asyncio
from collections.abc import Callable, Set
from contextlib import aclosing
from typing import Final, Protocol

import structlog
from prometheus_client import Counter

from ccl_operator.actions import Manifest, Resource
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.client import Client, WatchEvent
from ccl_operator.runtime.errors import ApiError, Forbidden, Gone, NotFound
from ccl_operator.runtime.store import Place

#: After so many failures in a row the resourceVersion itself is suspect: list again.
RELIST_AFTER: Final = 3
#: A stream that ends sooner than this did not help: wait before the next.
MIN_STREAM: Final = 1.0

#: How often a kind that the cluster does not have is asked for, in seconds.
ABSENT_RETRY: Final = 20.0
#: A kind that was silent for so long, in seconds, is not watched any more, whatever the code believes: bookmarks come
#: every minute.
DEAF_AFTER: Final = 300.0

log = structlog.get_logger(__name__)


class Sink(Protocol):
    """Where a reflector puts what it hears."""

    def changed(self, manifest: Manifest) -> None:
        """An object was added or modified, or is part of a listing."""

    def listed(self, found: Set[Place], listed_at: int, namespace: str | None) -> None:
        """A listing is complete: as of ``listed_at`` there were these and no others."""

    def deleted(self, manifest: Manifest) -> None:
        """An object is gone, or no longer matches the selector."""


class Reflector:
    """One kind in one namespace (None: all). ``clock`` is monotonic, in seconds.

    ``absent``: the kind may be missing in this cluster; called each time it is found to be.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None,
        selector: str,
        sink: Sink,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        failures: Counter,
        absent: Callable[[], None] | None = None,
    ) -> None:
        self.resource, self.namespace = resource, namespace
        self.deaf_after = DEAF_AFTER
        self.synced = asyncio.Event()
        self._client, self._selector, self._sink, self._clock = client, selector, sink, clock
        self._backoff = Backoff(first=0.5, longest=30.0, random=random)
        self._absent = absent
        self._resource_version: str | None = None
        self._failures = 0
        self._counter = failures.labels(resource.plural)
        self._heard_at = clock()

    def age(self) -> float:
        """Seconds since the API server last said anything about this kind."""
        return self._clock() - self._heard_at

    async def run(self) -> None:
        """List and watch until cancelled."""
        while True:
            started = self._clock()
            try:
                if self._resource_version is None:
                    self._resource_version = await self._list()
                await self._watch(self._resource_version)
            except Gone:
                self._resource_version = None
                log.info("watch is too old, listing again", action="watch.gone", resource=self.resource.plural)
            except NotFound as error:
                await self._wait_for_kind(error)
                continue
            except ApiError as error:
                await self._recover(error)
                continue
            if self._clock() - started < MIN_STREAM:
                # Whoever ends every stream at once (a proxy, a server shutting down) is not asked in a tight loop.
                await asyncio.sleep(self._backoff.delay(1))

    async def _wait_for_kind(self, error: NotFound) -> None:
        """A kind of others that is not there yet, or not any more, is no failure."""
        if self._absent is None:
            await self._recover(error)
            return
        self._resource_version = None
        self._heard()
        self._absent()
        self.synced.set()
        await asyncio.sleep(ABSENT_RETRY)

    async def _recover(self, error: ApiError) -> None:
        self._failures += 1
        self._counter.inc()
        if self._failures % RELIST_AFTER == 0:
            self._resource_version = None
        delay = self._backoff.delay(self._failures)
        if isinstance(error, Forbidden):
            # At once, as at the start: five minutes later the process would end for want of news.
            log.error("permission is missing", action="access.missing", permission=error.message, vital=True)
        log.warning(
            "watch failed",
            action="watch.failed",
            resource=self.resource.plural,
            namespace=self.namespace,
            error=str(error),
            retry_s=round(delay, 1),
        )
        await asyncio.sleep(delay)

    async def _list(self) -> str:
        def heard(manifest: Manifest) -> None:
            self._heard()
            self._sink.changed(manifest)

        listing = await self._client.list(self.resource, self.namespace, self._selector, each=heard)
        self._heard()
        self._sink.listed(listing.places, int(listing.resource_version), self.namespace)
        self.synced.set()
        return listing.resource_version

    async def _watch(self, resource_version: str) -> None:
        events = self._client.watch(self.resource, self.namespace, self._selector, resource_version)
        async with aclosing(events):
            async for event in events:
                self._heard()
                self._resource_version = event.object["metadata"]["resourceVersion"]
                self._pass_on(event)
        # A stream that the server ended in good order was alive.
        self._heard()

    def _pass_on(self, event: WatchEvent) -> None:
        if event.type == "DELETED":
            self._sink.deleted(event.object)
        elif event.type != "BOOKMARK":
            self._sink.changed(event.object)

    def _heard(self) -> None:
        self._heard_at = self._clock()
        self._failures = 0
