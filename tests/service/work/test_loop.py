"""The loop over a queue: slots, waking, what becomes of a handler that fails, waits, hangs or is stopped."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import MAX_CLAIMS, Outcome, Queue, Work, WorkLoop
from tests.service.polling import eventually
from tests.service.work.errands import ERRANDS, add, done, row

QUICK: dict[str, Any] = {"poll": timedelta(milliseconds=20)}


@pytest.fixture
async def looping() -> AsyncIterator[Any]:
    """Starts a loop; stops it at the end."""
    stop, tasks = asyncio.Event(), []

    def start(loop: WorkLoop) -> asyncio.Event:
        tasks.append(asyncio.create_task(loop.run(stop)))
        return stop

    yield start
    stop.set()
    await asyncio.gather(*tasks)


async def test_a_long_campaign_leaves_slots_for_a_person(db: Any, queue: Queue, looping: Any) -> None:
    for _ in range(20):
        await add(db, lane=2)
    free, lanes = asyncio.Event(), list[int]()

    async def handle(work: Work) -> None:
        lanes.append(work.lane)
        await free.wait()
        await done(db, work)

    looping(WorkLoop(queue, handle, slots=5, **QUICK))

    async def taken(count: int) -> bool:
        return len(lanes) == count

    await eventually(lambda: taken(4))
    await add(db, lane=0)
    await eventually(lambda: taken(5))
    assert lanes == [2, 2, 2, 2, 0]
    free.set()

    async def worked() -> bool:
        return await db.fetchval("SELECT count(*) FROM errands WHERE state = 'queued'") == 0

    await eventually(worked)


async def test_a_row_that_kills_its_handler_ends_in_quarantine_and_others_go_on(
    db: Any, queue: Queue, looping: Any
) -> None:
    await add(db, note="bad")
    seen: list[str] = []

    async def handle(work: Work) -> None:
        seen.append(work.row["note"])
        if work.row["note"] == "bad":
            await db.execute("UPDATE errands SET due_at = now() WHERE note = 'bad'")
            raise RuntimeError("bug")
        await done(db, work)

    async def due_at_once() -> bool:
        await db.execute("UPDATE errands SET due_at = now() WHERE state = 'queued'")
        return await db.fetchval("SELECT state FROM errands WHERE note = 'bad'") == "quarantined"

    looping(WorkLoop(queue, handle, **QUICK))
    await eventually(due_at_once)
    good = await add(db, note="good")

    async def worked() -> bool:
        return await db.fetchval("SELECT state FROM errands WHERE id = $1", good) == "done"

    await eventually(worked)
    assert seen.count("bad") == MAX_CLAIMS


async def test_a_handler_that_says_later_is_parked(db: Any, queue: Queue, looping: Any) -> None:
    await add(db)

    async def handle(_: Work) -> None:
        raise DatabaseUnavailable(delay=timedelta(minutes=5))

    looping(WorkLoop(queue, handle, **QUICK))

    async def parked() -> bool:
        return (await row(db))["wait"] > timedelta(minutes=4)

    await eventually(parked)
    assert ((await row(db))["attempts"], (await row(db))["claims"]) == (0, 0)


async def test_waking_finds_work_long_before_the_next_poll(db: Any, queue: Queue, looping: Any) -> None:
    async def handle(work: Work) -> None:
        await done(db, work)

    loop = WorkLoop(queue, handle, poll=timedelta(hours=1))
    looping(loop)
    await add(db)

    async def worked() -> bool:
        loop.wake()
        return (await row(db))["state"] == "done"

    await eventually(worked)


async def test_more_rows_than_slots_are_worked_without_waiting_for_a_poll(db: Any, queue: Queue, looping: Any) -> None:
    for _ in range(20):
        await add(db)
    running = most = 0

    async def handle(work: Work) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await done(db, work)
        running -= 1

    looping(WorkLoop(queue, handle, slots=2, poll=timedelta(hours=1)))

    async def worked() -> bool:
        return await db.fetchval("SELECT count(*) FROM errands WHERE state = 'queued'") == 0

    await eventually(worked)
    assert most <= 2


async def test_a_long_handler_keeps_its_lease(db: Any, queue: Queue, looping: Any) -> None:
    await add(db)
    free, starts = asyncio.Event(), 0

    async def handle(work: Work) -> None:
        nonlocal starts
        starts += 1
        await free.wait()
        assert await done(db, work)

    looping(WorkLoop(queue, handle, lease=timedelta(milliseconds=300), **QUICK))

    async def renewed() -> bool:
        return bool(await db.fetchval("SELECT count(*) FROM errands WHERE lease_until > now() AND claims = 1")) and (
            await db.fetchval("SELECT now() - due_at FROM errands") > timedelta(seconds=1)
        )

    await eventually(renewed)
    free.set()

    async def finished() -> bool:
        return (await row(db))["state"] == "done"

    await eventually(finished)
    assert starts == 1


async def test_stopping_lets_a_handler_finish_and_gives_back_what_does_not(db: Any, queue: Queue) -> None:
    quick, slow = await add(db, note="quick"), await add(db, note="slow")
    started = asyncio.Semaphore(0)
    release = asyncio.Event()

    async def handle(work: Work) -> None:
        started.release()
        if work.id == slow:
            await asyncio.Event().wait()
        await release.wait()
        await done(db, work)

    stop = asyncio.Event()
    loop = WorkLoop(queue, handle, grace=timedelta(milliseconds=500), **QUICK)
    task = asyncio.create_task(loop.run(stop))
    for _ in range(2):
        await asyncio.wait_for(started.acquire(), 5)
    stop.set()
    release.set()
    await asyncio.wait_for(task, 5)
    rows = {found["id"]: found for found in await db.fetch("SELECT * FROM errands")}
    assert rows[quick]["state"] == "done"
    assert (rows[slow]["state"], rows[slow]["claim_id"], rows[slow]["claims"]) == ("queued", None, 0)


@pytest.mark.usefixtures("queue")
async def test_every_claim_is_counted_by_what_became_of_it(db: Any) -> None:
    metrics = Metrics()
    for note in ("well", "later", "bad", "slow"):
        await add(db, note=note)
    too_often = await add(db, note="too often")
    await db.execute("UPDATE errands SET claims = $2 WHERE id = $1", too_often, MAX_CLAIMS)

    async def handle(work: Work) -> None:
        match work.row["note"]:
            case "later":
                raise DatabaseUnavailable(delay=timedelta(minutes=5))
            case "bad":
                raise RuntimeError("bug")
            case "slow":
                await asyncio.Event().wait()
        await done(db, work)

    stop = asyncio.Event()
    loop = WorkLoop(Queue(db, ERRANDS, metrics.count), handle, grace=timedelta(milliseconds=100), **QUICK)
    task = asyncio.create_task(loop.run(stop))

    async def all_but_the_slow_one() -> bool:
        return metrics.total("ccl_work_outcomes_total") == 4

    await eventually(all_but_the_slow_one, within=30)
    stop.set()
    await asyncio.wait_for(task, 30)
    found = {o: metrics.value("ccl_work_outcomes_total", queue="errands", outcome=o) for o in Outcome}
    assert found == dict.fromkeys(Outcome, 1) | {Outcome.LEFT: 0}


class Cut(Queue):
    """A queue whose database goes away after the claim."""

    async def crashed(self, *_: Any) -> bool:
        raise DatabaseUnavailable


@pytest.mark.usefixtures("queue")
async def test_a_claim_of_which_nothing_could_be_written_down_counts_as_left(db: Any, looping: Any) -> None:
    metrics = Metrics()
    await add(db)

    async def handle(_: Work) -> None:
        raise RuntimeError("bug")

    looping(WorkLoop(Cut(db, ERRANDS, metrics.count), handle, **QUICK))

    async def left() -> bool:
        return metrics.value("ccl_work_outcomes_total", queue="errands", outcome="left") == 1

    await eventually(left, within=30)


class Away(Queue):
    """A queue whose database is away for the first claims."""

    absences = 3

    async def claim(self, *args: Any, **options: Any) -> Any:
        if self.absences:
            self.absences -= 1
            raise DatabaseUnavailable
        return await super().claim(*args, **options)


async def test_a_loop_outlives_an_absence_of_the_database(db: Any, queue: Queue, looping: Any) -> None:
    await add(db)

    async def handle(work: Work) -> None:
        await done(db, work)

    looping(WorkLoop(Away(db, ERRANDS), handle, **QUICK))

    async def worked() -> bool:
        return (await row(db))["state"] == "done"

    await eventually(worked)


async def test_what_a_loop_prepares_is_tried_until_it_succeeds_and_before_the_first_claim(
    db: Any, queue: Queue, looping: Any
) -> None:
    await add(db)
    steps: list[str] = []

    async def prepare() -> None:
        steps.append("prepare")
        if len(steps) < 3:
            raise DatabaseUnavailable

    async def handle(work: Work) -> None:
        steps.append("work")
        await done(db, work)

    looping(WorkLoop(queue, handle, prepare=prepare, **QUICK))

    async def worked() -> bool:
        return (await row(db))["state"] == "done"

    await eventually(worked)
    assert steps == ["prepare", "prepare", "prepare", "work"]
