"""Watches our own kinds through kopf, with ``on.event`` alone, and re-lists them, because kopf is no informer.

``on.event`` writes nothing; every other handler would cost a finalizer and annotations. An object that goes during a
gap of the watch yields no DELETED, so a LIST replaces the cache every ten minutes. Whether the watch hears at all is
judged by what the LIST brings (``hearing``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import kopf
import structlog
from prometheus_client import Counter

from ccl_operator import names
from ccl_operator.actions import Key, Manifest
from ccl_operator.runtime import credentials
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import TryLater
from ccl_operator.runtime.hearing import Hearing
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.references import References
from ccl_operator.runtime.store import Place, place

RELIST_EVERY: Final = 600.0
#: In so many seconds the watch tells what a listing has brought: kopf notices before that a stream has died.
TOLD_WITHIN: Final = 90.0
#: Seconds: two listings in a row have failed, or brought what the watch has not told at all.
DEAF_AFTER: Final = 2 * RELIST_EVERY + 60.0
#: A watch that lasted for so many seconds had begun well: what ends it then is a failure of its own.
STEADY: Final = 60.0
#: Seconds in which watches fail one after the other before the process ends. An API server in trouble is itself again
#: by then, as at start; what goes on may be in the process, which a fresh one mends, and its restarts are seen.
PATIENCE: Final = 300.0

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
    """Keeps the cache of CclDeployments and wakes the queue.

    ``scopes``: namespaces to list one by one, None for all at once. ``clock`` is monotonic, in seconds.
    """

    resource: Final = names.OWNER
    namespace: Final = None
    deaf_after: Final = DEAF_AFTER

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue,
        references: References,
        scopes: Sequence[str | None],
        *,
        clock: Callable[[], float],
        failures: Counter,
    ) -> None:
        self._client, self._cache, self._queue, self._references = client, cache, queue, references
        self._scopes = scopes
        self._hearing, self._failures = Hearing(clock), failures

    def age(self) -> float:
        """Seconds since the watch was last known to miss nothing. Up to ten minutes mean nothing."""
        return self._hearing.age()

    async def relist(self) -> None:
        """Replace the cache by what is there. Raises Forbidden, TryLater."""
        found: set[Place] = set()
        for namespace in self._scopes:
            listing = await self._client.list(names.OWNER, namespace, each=self._listed)
            found |= listing.places
            for key in self._cache.retain_owners(listing.places, int(listing.resource_version), namespace):
                self._queue.add(key)
        self._hearing.listed(found)
        self._references.forget_unused()

    async def relist_for_ever(self) -> None:
        """Re-list every ten minutes until cancelled, and each time see whether the watch tells the same."""
        while True:
            await self._compare()
            await asyncio.sleep(RELIST_EVERY - TOLD_WITHIN)
            await self.relist_if_possible()

    async def relist_if_possible(self) -> None:
        """As ``relist``, but that it may fail for a while. Raises Forbidden."""
        try:
            await self.relist()
        except TryLater as error:
            self._failures.inc()
            log.warning("re-list failed", action="owners.relist", error=str(error))

    async def _compare(self) -> None:
        """Tell what the listing has brought and the watch has not."""
        listed = self._hearing.owed()
        await asyncio.sleep(TOLD_WITHIN)
        if missed := sorted(listed.items() & self._hearing.owed().items()):
            self._failures.inc()
            places = [f"{namespace}/{name}" for (namespace, name), _ in missed]
            log.warning("watch is deaf", action="owners.deaf", missed=len(places), objects=places[:10])

    def heard(self, event_type: str | None, manifest: dict[str, Any]) -> None:
        """Take in an event of kopf's; type None is an object of its own listing."""
        self._hearing.told(manifest)
        if event_type == "DELETED":
            self._cache.remove_owner(manifest)
            self._queue.add(Key(*place(manifest)))
        else:
            self._take(manifest)

    def _listed(self, manifest: Manifest) -> None:
        if self._take(manifest):
            self._hearing.news(manifest)

    def _take(self, manifest: Manifest) -> bool:
        """False when it was known."""
        is_news = self._cache.put_owner(manifest)
        if is_news:
            self._queue.add(Key(*place(manifest)), urgent=needs_attention(manifest))
        return is_news


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


async def watch_steadily(
    run: Callable[[], Awaitable[None]],
    relist: Callable[[], Awaitable[None]],
    *,
    backoff: Backoff,
    clock: Callable[[], float],
    failures: Counter,
) -> None:
    """``run`` the watch until it returns; when it fails, begin anew after a pause and a ``relist``.

    Raises what it failed with at once when a permission is missing, and when it has failed for ``PATIENCE``.
    """
    in_a_row, failing_since = 0, 0.0
    while True:
        started = clock()
        try:
            await run()
        except Exception as error:
            if clock() - started >= STEADY:
                in_a_row = 0
            failing_since = failing_since if in_a_row else clock()
            in_a_row += 1
            failures.inc()
            if _is_forbidden(error) or clock() - failing_since > PATIENCE:
                raise
            delay = backoff.delay(in_a_row)
            log.warning("watch failed", action="owners.watch", error=repr(error), retry_s=round(delay, 1))
            await asyncio.sleep(delay)
        else:
            return
        await relist()


def _is_forbidden(error: Exception) -> bool:
    """kopf's error, whose class is not public."""
    return getattr(error, "status", None) == 403


async def watch(
    owners: Owners,
    configuration: Any,
    namespace: str | None,
    *,
    stop: asyncio.Event,
    on_spawned: Callable[[], None],
    identity: str,
) -> None:
    """Run kopf over one namespace, None for all, until ``stop`` is set, or until kopf gives up (at a 403, say).

    ``on_spawned`` is called when kopf has installed its signal handlers, to put ours back. ``kopf.run_tasks`` is not
    for us: in the end it cancels whatever began meanwhile, questions and writes of ours too. Over several namespaces
    the others' watches would outlive the one that failed.
    """
    ending = asyncio.Event()
    # kopf would name itself after the user, and fail where a bare uid has no name.
    name: Any = identity
    tasks = await kopf.spawn_tasks(
        registry=registry(owners, configuration),
        settings=settings(),
        identity=name,
        clusterwide=namespace is None,
        namespaces=() if namespace is None else (namespace,),
        stop_flag=ending,
    )
    on_spawned()
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Said as well as done: kopf takes being cancelled for a reason to have the whole process killed later.
        ending.set()
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.wait((*tasks, stopping))
    for task in done:
        task.result()
