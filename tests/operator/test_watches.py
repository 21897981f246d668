"""A reflector stays in step with the API server whatever happens to its connection."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest
from kubernetes.aio.client.configuration import Configuration

from ccl_operator import names
from ccl_operator.actions import Key
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.reflector import Reflector
from ccl_operator.runtime.sinks import ChildSink
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection, Fault

SELECTOR = f"{names.MANAGED_BY_LABEL}={names.MANAGED_BY}"


@dataclass
class Watching:
    """A running reflector of ConfigMaps and what it has put into the cache."""

    place: Place
    connection: DisturbedConnection
    cache: Cache
    reflector: Reflector

    def known(self) -> set[str]:
        """Names in the cache."""
        found = self.cache.children(names.CONFIG_MAP, Key(self.place.namespace, "ccl"))
        return {str(each["metadata"]["name"]) for each in found}

    async def create(self, name: str) -> None:
        """A ConfigMap with our labels."""
        manifest = {"metadata": {"name": name, "labels": names.labels("ccl")}}
        await asyncio.to_thread(self.place.api.create, names.CONFIG_MAP, self.place.namespace, manifest)

    async def delete(self, name: str) -> None:
        """Remove it again."""
        await asyncio.to_thread(self.place.api.delete, names.CONFIG_MAP, self.place.namespace, name)


async def until(what: str, probe: Callable[[], object], timeout: float = 15.0) -> None:
    """Until ``probe`` is truthy. Fails the test when it does not become so in time."""
    deadline = time.monotonic() + timeout
    while not probe():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)


@asynccontextmanager
async def watching(place: Place, *faults: Fault) -> AsyncIterator[Watching]:
    """A reflector behind a connection whose first watches meet ``faults``."""
    async with DisturbedConnection(place.server).serving() as connection:
        connection.faults.extend(faults)
        configuration = Configuration(host=connection.url)
        configuration.api_key["BearerToken"] = f"Bearer {place.server.token_for(OPERATOR.name)}"
        metrics = Metrics()
        async with Client(configuration, metrics, time.monotonic) as client:
            cache = Cache()
            reflector = Reflector(
                client,
                names.CONFIG_MAP,
                place.namespace,
                SELECTOR,
                ChildSink(cache, names.CONFIG_MAP, lambda _: None),
                clock=time.monotonic,
                random=lambda: 0.0,
                failures=metrics.watch_failures,
            )
            running = asyncio.create_task(reflector.run())
            await asyncio.wait_for(reflector.synced.wait(), 15)
            try:
                yield Watching(place, connection, cache, reflector)
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


@pytest.mark.parametrize("fault", ["gone", "broken", "refused", "error", "cut", "end"])
async def test_changes_are_seen_after_a_disturbed_watch(place: Place, fault: Fault) -> None:
    async with watching(place, fault) as found:
        await found.create("one")
        await until(f"the watch goes on after {fault!r}", lambda: found.known() == {"one"})
        await found.delete("one")
        await until("the deletion is seen", lambda: found.known() == set())


@pytest.mark.parametrize(("fault", "lists"), [("gone", 2), ("refused", 2), ("end", 1), ("cut", 1)])
async def test_only_a_watch_that_is_too_old_is_followed_by_a_new_listing(
    place: Place, fault: Fault, lists: int
) -> None:
    async with watching(place, fault) as found:
        await found.create("one")
        await until("the object is known", lambda: found.known() == {"one"})
        assert found.connection.lists == lists


async def test_after_three_failures_in_a_row_everything_is_listed_again(place: Place) -> None:
    async with watching(place, "error", "error", "error") as found:
        await until("it lists again", lambda: found.connection.lists == 2)


async def test_what_was_deleted_while_no_watch_was_open_is_forgotten(place: Place) -> None:
    async with watching(place) as found:
        await found.create("one")
        await until("the object is known", lambda: found.known() == {"one"})
    async with watching(place, "error", "refused") as again:
        assert again.known() == {"one"}
        await again.delete("one")
        await until("the listing after the gap shows it gone", lambda: again.known() == set())


async def test_objects_without_our_label_are_not_even_sent(place: Place) -> None:
    async with watching(place) as found:
        manifest = {"metadata": {"name": "foreign", "labels": {names.INSTANCE_LABEL: "ccl"}}}
        await asyncio.to_thread(place.api.create, names.CONFIG_MAP, place.namespace, manifest)
        await found.create("ours")
        await until("ours is known", lambda: "ours" in found.known())
        assert found.known() == {"ours"}
