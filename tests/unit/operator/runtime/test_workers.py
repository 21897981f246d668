"""One object's trouble is its own."""

import asyncio
import time
from datetime import UTC, datetime
from typing import cast

import pytest

from ccl_operator.actions import Key
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import ApiError, TryLater
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.reconcile import Outcome, Reconciler
from ccl_operator.runtime.references import References
from ccl_operator.runtime.workers import Workers

POISON, GOOD = Key("loans", "poison"), Key("loans", "good")


class Passes:
    """Counts passes; the poisoned key always fails."""

    def __init__(self, error: Exception) -> None:
        self.error, self.seen = error, dict.fromkeys((POISON, GOOD), 0)

    async def reconcile(self, key: Key) -> Outcome:
        self.seen[key] += 1
        if key == POISON:
            raise self.error
        return Outcome("unchanged")


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), TryLater("patch x", "busy"), KeyError("spec")])
async def test_an_object_that_always_fails_stops_no_other_and_is_tried_again(error: Exception) -> None:
    queue, passes, cache, metrics = WorkQueue(time.monotonic), Passes(error), Cache(), Metrics()
    references = References(cast(Client, None), cache, time.monotonic)
    workers = Workers(
        queue=queue,
        reconciler=cast(Reconciler, passes),
        references=references,
        cache=cache,
        metrics=metrics,
        backoff=Backoff(first=0.1, longest=0.1, random=lambda: 0.5),
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
    )
    running = asyncio.create_task(workers.run())
    queue.add(POISON)
    queue.add(GOOD)
    async with asyncio.timeout(30):
        while passes.seen[POISON] < 3 or passes.seen[GOOD] < 1:  # noqa: ASYNC110 - the workers say nothing
            await asyncio.sleep(0.001)
    queue.close()
    await running
    word = "later" if isinstance(error, ApiError) else "bug"
    counted = metrics.registry.get_sample_value("ccl_operator_reconcile_seconds_count", {"outcome": word})
    assert counted == passes.seen[POISON]
