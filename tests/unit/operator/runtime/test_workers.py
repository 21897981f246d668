"""One object's trouble is its own."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import pytest

from ccl_operator.actions import Key
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import ApiError, TryLater
from ccl_operator.runtime.interruptions import MANY
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
        self.told: list[tuple[Key, str]] = []
        self.failures: list[Key] = []

    async def failed(self, key: Key) -> None:
        self.failures.append(key)
        raise self.error

    async def reconcile(self, key: Key) -> Outcome:
        self.seen[key] += 1
        if key == POISON:
            raise self.error
        return Outcome("unchanged")

    async def interrupted(self, key: Key, why: str) -> None:
        self.told.append((key, why))


@asynccontextmanager
async def working(passes: Passes) -> AsyncIterator[Metrics]:
    """Both keys are worked on, again and again."""
    queue, cache, metrics = WorkQueue(time.monotonic), Cache(), Metrics()
    workers = Workers(
        queue=queue,
        reconciler=cast(Reconciler, passes),
        references=References(cast(Client, None), cache, time.monotonic),
        cache=cache,
        metrics=metrics,
        backoff=Backoff(first=0.1, longest=0.1, random=lambda: 0.5),
        clock=time.monotonic,
        now=lambda: datetime.now(UTC),
    )
    running = asyncio.create_task(workers.run())
    queue.add(POISON)
    queue.add(GOOD)
    yield metrics
    queue.close()
    await running


async def until(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not probe():  # noqa: ASYNC110 - the workers say nothing
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), TryLater("patch x", "busy"), KeyError("spec")])
async def test_an_object_that_always_fails_stops_no_other_and_is_tried_again(error: Exception) -> None:
    passes = Passes(error)
    async with working(passes) as metrics:
        await until(lambda: passes.seen[POISON] >= 3 and passes.seen[GOOD] >= 1)
    word = "later" if isinstance(error, ApiError) else "bug"
    counted = metrics.registry.get_sample_value("ccl_operator_reconcile_seconds_count", {"outcome": word})
    assert counted == passes.seen[POISON]
    assert passes.failures == ([] if word == "later" else [POISON] * passes.seen[POISON])


async def test_an_object_whose_passes_keep_ending_early_is_told_and_counted() -> None:
    passes = Passes(TryLater("patch x", "busy"))
    async with working(passes) as metrics:
        await until(lambda: len(passes.told) >= 2)
        assert metrics.registry.get_sample_value("ccl_operator_interrupted_objects") == 1
        assert passes.told[0] == (POISON, "patch x: busy")
        assert passes.seen[POISON] >= MANY
