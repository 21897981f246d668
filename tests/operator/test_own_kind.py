"""CclDeployments: what kopf's watch cannot know comes from listings."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ccl_operator import names
from ccl_operator.actions import Key, Resource
from ccl_operator.runtime import credentials
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.owners import Owners
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.rbac import EVENT
from ccl_operator.runtime.references import References
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import SPEC, Place
from tests.operator.operator_process import until

LIMIT_RANGE = Resource("", "v1", "limitranges", "LimitRange")


@dataclass
class Known:
    """What a process without a watch knows."""

    owners: Owners
    cache: Cache
    queue: WorkQueue


@asynccontextmanager
async def knowing(place: Place) -> AsyncIterator[Known]:
    configuration = await credentials.load({"KUBECONFIG": str(place.server.kubeconfig_for(OPERATOR.name))})
    metrics = Metrics()
    async with Client(configuration, metrics, time.monotonic) as client:
        cache, queue = Cache(), WorkQueue(time.monotonic)
        references = References(client, cache, time.monotonic)
        failures = metrics.watch_failures.labels(names.OWNER.plural)
        owners = Owners(client, cache, queue, references, [place.namespace], clock=time.monotonic, failures=failures)
        yield Known(owners, cache, queue)


async def test_a_deletion_that_was_never_heard_of_is_found_by_the_next_listing(place: Place) -> None:
    place.create()
    async with knowing(place) as found:
        await found.owners.relist()
        key = await found.queue.get()
        assert key == Key(place.namespace, "ccl")
        found.queue.done(key)
        place.api.delete(names.OWNER, place.namespace, "ccl")
        await found.owners.relist()
        assert found.cache.owner(key) is None
        assert await found.queue.get() == key, "its children are looked after once more"


async def test_a_listing_that_brings_no_news_wakes_nobody(place: Place) -> None:
    place.create()
    async with knowing(place) as found:
        await found.owners.relist()
        key = await found.queue.get()
        assert key is not None
        found.queue.done(key)
        await found.owners.relist()
        assert len(found.queue) == 0


async def test_the_end_of_an_older_object_does_not_remove_its_successor(place: Place) -> None:
    old = place.create()
    place.api.delete(names.OWNER, place.namespace, "ccl")
    place.create()
    async with knowing(place) as found:
        await found.owners.relist()
        found.owners.heard("DELETED", old)
        assert found.cache.owner(Key(place.namespace, "ccl")) is not None


def test_an_object_whose_child_is_refused_does_not_hold_up_another(place: Place) -> None:
    most = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}
    place.api.create(LIMIT_RANGE, place.namespace, {"metadata": {"name": "most"}, "spec": {"limits": [most]}})
    place.start_operator()
    place.create("poison", backup=SPEC["backup"] | {"destination": {"pvc": {"size": "2Gi"}}})
    place.create()
    place.promote()
    until("it is said", lambda: any("maximum storage" in note for note in _warnings(place, "poison")))


def _warnings(place: Place, name: str) -> list[str]:
    events = place.api.list(EVENT, place.namespace)
    return [event["note"] for event in events if event["regarding"]["name"] == name and event["type"] == "Warning"]
