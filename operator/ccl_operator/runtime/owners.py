"""Watches our own kinds through kopf, with ``on.event`` alone, and re-lists them, because kopf is no informer.

``on.event`` writes nothing; every other handler would cost a finalizer and annotations. An object that goes during a
gap of the watch yields no DELETED, so a LIST replaces the cache every ten minutes.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import kopf
import structlog

from ccl_operator import names
from ccl_operator.actions import Key, Manifest
from ccl_operator.runtime import credentials
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import TryLater
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.references import References
from ccl_operator.runtime.store import Place, place

RELIST_EVERY: Final = 600.0
#: Seconds of silence: two listings in a row have failed.
DEAF_AFTER: Final = 2 * RELIST_EVERY + 60.0

log = structlog.get_logger(__name__)


def settings() -> kopf.OperatorSettings:
    """kopf's settings, all that matter written down."""
    found = kopf.OperatorSettings()
    found.peering.standalone = True
    # An int: a float ends in a URL that the API server refuses.
    found.watching.server_timeout = 240
    found.watching.client_timeout = 300
    found.watching.connect_timeout = 5
    # Bookmarks come every minute: a watch that is silent for longer is deaf, and opened anew.
    found.watching.inactivity_timeout = 70
    found.networking.request_timeout = 30
    found.networking.connect_timeout = 5
    found.posting.enabled = False
    # It would want to list and watch namespaces and CRDs of the whole cluster.
    found.scanning.disabled = True
    # Never set by us; kopf's default name would collide with another kopf operator's.
    found.persistence.finalizer = f"{names.GROUP}/kopf"
    return found


def needs_attention(owner: Manifest) -> bool:
    """Whether somebody changed the spec and no pass has seen it yet."""
    seen = (owner.get("status") or {}).get("observedGeneration")
    return bool(seen != owner["metadata"].get("generation"))


class Owners:
    """Keeps the cache of CclDeployments and wakes the queue."""

    resource: Final = names.OWNER
    namespace: Final = None
    deaf_after: Final = DEAF_AFTER

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue,
        references: References,
        namespaces: Sequence[str],
        *,
        clock: Callable[[], float],
    ) -> None:
        self._client, self._cache, self._queue, self._references = client, cache, queue, references
        self._scopes: Sequence[str | None] = namespaces or (None,)
        self._clock, self._heard_at = clock, clock()

    def age(self) -> float:
        """Seconds since the last listing or event. kopf hides bookmarks: up to ten minutes mean nothing."""
        return self._clock() - self._heard_at

    async def relist(self) -> None:
        """Replace the cache by what is there. Raises Forbidden, TryLater."""
        for namespace in self._scopes:
            found: set[Place] = set()

            def take(manifest: Manifest, found: set[Place] = found) -> None:
                found.add(place(manifest))
                self._take(manifest)

            version = await self._client.list(names.OWNER, namespace, each=take)
            for key in self._cache.retain_owners(found, int(version), namespace):
                self._queue.add(key)
        self._heard_at = self._clock()
        self._references.forget_unused()

    async def relist_for_ever(self) -> None:
        """Re-list every ten minutes until cancelled."""
        while True:
            await asyncio.sleep(RELIST_EVERY)
            try:
                await self.relist()
            except TryLater as error:
                log.warning("re-list failed", action="owners.relist", error=str(error))

    def heard(self, event_type: str | None, manifest: dict[str, Any]) -> None:
        """Take in an event of kopf's; type None is an object of its own listing."""
        self._heard_at = self._clock()
        if event_type == "DELETED":
            self._cache.remove_owner(manifest)
            self._queue.add(Key(*place(manifest)))
        else:
            self._take(manifest)

    def _take(self, manifest: Manifest) -> None:
        if self._cache.put_owner(manifest):
            self._queue.add(Key(*place(manifest)), urgent=needs_attention(manifest))


def registry(owners: Owners, configuration: Any) -> kopf.OperatorRegistry:
    """kopf's handlers: credentials, and one that puts every event on our queue."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await credentials.for_kopf(configuration)

    @kopf.on.event(names.OWNER.group, names.OWNER.version, names.OWNER.plural, registry=found)
    async def heard(event: kopf.RawEvent, **_: Any) -> None:
        owners.heard(event["type"], dict(event["object"]))

    return found


async def watch(
    owners: Owners,
    configuration: Any,
    namespaces: Sequence[str],
    *,
    stop: asyncio.Event,
    on_spawned: Callable[[], None],
    identity: str,
) -> None:
    """Run kopf until ``stop`` is set, or until kopf gives up (at a 403, say).

    ``on_spawned`` is called when kopf has installed its signal handlers, to put ours back. In the end kopf cancels
    every task that was created after this was called, so all of ours must be there already.
    """
    existing = asyncio.all_tasks()
    # kopf would name itself after the user, and fail where a bare uid has no name.
    name: Any = identity
    tasks = await kopf.spawn_tasks(
        registry=registry(owners, configuration),
        settings=settings(),
        identity=name,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    on_spawned()
    await kopf.run_tasks(tasks, ignored=existing)
