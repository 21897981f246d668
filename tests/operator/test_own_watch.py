"""The watch of the operator's own kind, which is kopf's, meets what API servers and networks do to it."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from kubernetes.aio.client.configuration import Configuration
from structlog.testing import capture_logs

from ccl_operator import names
from ccl_operator.runtime import owners
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.health import Deaf, Health
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.owners import DEAF_AFTER, RELIST_EVERY, Owners
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.references import References
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection, Fault
from tests.operator.operator_process import until
from tests.unit.operator.runtime.clock import Clock


@pytest.mark.parametrize("fault", ["gone", "broken", "refused", "error", "cut", "end"])
async def test_an_object_made_after_a_disturbed_watch_is_seen(place: Place, fault: Fault) -> None:
    async with DisturbedConnection(place.server, names.OWNER.plural).serving() as connection:
        kubeconfig = place.server.kubeconfig_for(OPERATOR.name, through=connection.url)
        operator = await asyncio.to_thread(place.launch_operator, kubeconfig)
        await asyncio.to_thread(operator.wait_ready)
        connection.faults.append(fault)
        connection.cut()
        await asyncio.to_thread(until, "the fault is met", lambda: not connection.faults)
        await asyncio.to_thread(place.create)
        await asyncio.to_thread(until, "it is seen", lambda: place.owner().get("status"))
        await asyncio.to_thread(place.create, "another")
        await asyncio.to_thread(until, "the watch goes on", lambda: place.owner("another").get("status"))
        assert operator.ended() is None, "the same process goes on"


@dataclass
class Listening:
    """A watch of kopf's, what it is heard by, and the clock that its age is told from."""

    connection: DisturbedConnection
    owners: Owners
    cache: Cache
    metrics: Metrics
    clock: Clock

    async def heard(self, count: int) -> None:
        """Until so many objects are known."""
        async with asyncio.timeout(30):
            while len(self.cache.owner_keys()) < count:  # noqa: ASYNC110 - the cache says nothing
                await asyncio.sleep(0.01)

    def failures(self) -> float | None:
        """As they are counted."""
        labels = {"resource": names.OWNER.plural}
        return self.metrics.registry.get_sample_value("ccl_operator_watch_failures_total", labels)


@asynccontextmanager
async def listening(place: Place) -> AsyncIterator[Listening]:
    """Lists and watches one namespace, without an operator around it."""
    async with DisturbedConnection(place.server, names.OWNER.plural).serving() as connection:
        configuration = Configuration(host=connection.url)
        configuration.api_key["BearerToken"] = f"Bearer {place.server.token_for(OPERATOR.name)}"
        metrics, clock, cache = Metrics(), Clock(), Cache()
        async with Client(configuration, metrics, clock) as client:
            queue, references = WorkQueue(clock), References(client, cache, clock)
            failures = metrics.watch_failures.labels(names.OWNER.plural)
            found = Owners(client, cache, queue, references, [place.namespace], clock=clock, failures=failures)
            stop = asyncio.Event()
            watch = asyncio.create_task(
                owners.watch(
                    found, configuration, place.namespace, stop=stop, on_spawned=_without_handlers, identity="test"
                )
            )
            try:
                yield Listening(connection, found, cache, metrics, clock)
            finally:
                stop.set()
                await watch


def _without_handlers() -> None:
    """Those of kopf's would keep a test run from being interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_watch_that_misses_what_a_listing_finds_gets_old_in_spite_of_it_and_ends_the_process(
    place: Place,
) -> None:
    await asyncio.to_thread(place.create)
    async with listening(place) as found:
        await found.heard(1)
        found.connection.mute = True
        await asyncio.to_thread(place.create, "another")
        found.clock.now += RELIST_EVERY
        await found.owners.relist()
        assert len(found.cache.owner_keys()) == 2
        assert found.owners.age() == RELIST_EVERY
        found.clock.now += DEAF_AFTER - RELIST_EVERY + 1
        await found.owners.relist()
        with pytest.raises(Deaf, match=names.OWNER.plural):
            await asyncio.wait_for(Health(found.metrics, [found.owners], lambda: True).watch(), 30)


async def test_a_watch_that_tells_it_at_last_is_young_again(place: Place) -> None:
    async with listening(place) as found:
        await asyncio.to_thread(place.create)
        await found.heard(1)
        found.connection.mute = True
        await asyncio.to_thread(place.create, "another")
        found.clock.now += RELIST_EVERY
        await found.owners.relist()
        found.connection.mute = False
        found.connection.cut()
        async with asyncio.timeout(30):
            while found.owners.age():  # noqa: ASYNC110 - it says nothing
                await asyncio.sleep(0.01)


async def test_a_quiet_watch_that_misses_nothing_is_as_young_as_the_last_listing(place: Place) -> None:
    async with listening(place) as found:
        await asyncio.to_thread(place.create)
        await found.heard(1)
        found.connection.mute = True
        found.clock.now += RELIST_EVERY
        await found.owners.relist()
        assert found.owners.age() == 0.0


async def test_a_deaf_watch_is_told_and_counted(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "RELIST_EVERY", 0.2)
    monkeypatch.setattr(owners, "TOLD_WITHIN", 0.1)
    async with listening(place) as found:
        await asyncio.to_thread(place.create)
        await found.heard(1)
        found.connection.mute = True
        await asyncio.to_thread(place.create, "another")
        with capture_logs() as logs:
            listing = asyncio.create_task(found.owners.relist_for_ever())
            async with asyncio.timeout(30):
                while not logs:  # noqa: ASYNC110 - it says nothing else
                    await asyncio.sleep(0.01)
            listing.cancel()
            await asyncio.wait([listing])
    assert (logs[0]["log_level"], logs[0]["action"]) == ("warning", "owners.deaf")
    assert logs[0]["objects"] == [f"{place.namespace}/another"]
    assert (found.failures() or 0) >= 1


async def test_a_listing_that_fails_is_counted_and_may_work_the_next_time() -> None:
    metrics, clock, cache = Metrics(), Clock(), Cache()
    failures = metrics.watch_failures.labels(names.OWNER.plural)
    async with Client(Configuration(host="http://127.0.0.1:1"), metrics, clock) as client:
        references = References(client, cache, clock)
        found = Owners(client, cache, WorkQueue(clock), references, [None], clock=clock, failures=failures)
        clock.now = 5.0
        await found.relist_if_possible()
    assert found.age() == 5.0
    counted = metrics.registry.get_sample_value("ccl_operator_watch_failures_total", {"resource": names.OWNER.plural})
    assert counted == 1
