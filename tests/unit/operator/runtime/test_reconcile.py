"""A pass that raises is told on the object."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, cast

import pytest

from ccl_operator.actions import Event, Key, Manifest
from ccl_operator.api.status import parse_status
from ccl_operator.config import Config
from ccl_operator.report import failed
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.events import Events
from ccl_operator.runtime.prober import Prober
from ccl_operator.runtime.reconcile import Reconciler
from ccl_operator.runtime.references import References
from ccl_operator.runtime.writer import Writer
from tests.unit.operator.samples import START
from tests.unit.operator.simulated_cluster import SimulatedCluster

KEY = Key("loans", "ccl")


class Writes:
    """Keeps statuses and events as the API server would."""

    def __init__(self, cache: Cache) -> None:
        self.cache, self.statuses, self.events = cache, list[Mapping[str, Any]](), list[Event]()
        self._versions = iter(range(10, 1000))

    async def write_status(self, owner: Manifest, status: Manifest) -> bool:
        self.statuses.append(status)
        metadata = {**owner["metadata"], "resourceVersion": str(next(self._versions))}
        self.cache.put_owner({**owner, "metadata": metadata, "status": status})
        return True

    def post(self, owner: Manifest, event: Event) -> None:
        self.events.append(event)


def reconciler(cache: Cache, writes: Writes) -> Reconciler:
    return Reconciler(
        cache=cache,
        writer=cast(Writer, writes),
        references=cast(References, None),
        prober=cast(Prober, None),
        events=cast(Events, writes),
        config=Config(),
        now=lambda: START + timedelta(hours=1, microseconds=1),
        entropy=bytes,
    )


def held(cluster: SimulatedCluster, **metadata: Any) -> Cache:
    cache = Cache()
    cache.put_owner({**cluster.owner, "metadata": {**cluster.owner["metadata"], "resourceVersion": "1", **metadata}})
    return cache


async def test_a_pass_that_raised_is_told_once_for_each_generation(promoted: SimulatedCluster) -> None:
    cache = held(promoted)
    writes = Writes(cache)
    passes = reconciler(cache, writes)
    for _ in range(3):
        await passes.failed(KEY)
    assert len(writes.statuses) == 1
    assert [(event.type, event.reason) for event in writes.events] == [("Warning", "InternalError")]
    owner = cache.owner(KEY)
    assert owner is not None
    cache.put_owner({**owner, "metadata": {**owner["metadata"], "generation": 2, "resourceVersion": "2000"}})
    await passes.failed(KEY)
    assert [status["observedGeneration"] for status in writes.statuses] == [1, 2]
    assert len(writes.events) == 1


async def test_an_object_that_is_gone_is_told_nothing() -> None:
    cache = Cache()
    writes = Writes(cache)
    await reconciler(cache, writes).failed(KEY)
    assert writes.statuses == []


@pytest.fixture(params=["new", "promoted"])
def known(request: pytest.FixtureRequest, cluster: SimulatedCluster):
    if request.param == "promoted":
        cluster.run()
    return parse_status(cluster.owner)


def test_it_stalls_and_keeps_what_was_known(known):
    status = failed(known, 1, START)
    assert status is not None
    told = {each.type: each for each in status.conditions}
    assert (told["Stalled"].status, told["Stalled"].reason) == ("True", "InternalError")
    assert told["Reconciling"].status == "False"
    assert (status.phase, status.observed_generation) == ("Stalled", 1)
    before = {each.type: each for each in known.conditions}
    assert all(told[kind] == before[kind] for kind in before.keys() - {"Stalled", "Reconciling"})
    assert (status.stable, status.rollout, status.secrets) == (known.stable, known.rollout, known.secrets)


def test_the_next_pass_that_comes_to_its_end_takes_it_back(promoted):
    status = failed(parse_status(promoted.owner), 1, START)
    promoted.owner = {**promoted.owner, "status": status.model_dump(mode="json", by_alias=True, exclude_none=True)}
    promoted.run()
    assert promoted.condition("Stalled") == ("False", "NotStalled")
    assert promoted.condition("Ready") == ("True", "Serving")
