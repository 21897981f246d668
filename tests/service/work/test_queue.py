"""Claims, leases, parking, retries and quarantine on a table of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ccl_service.leads.imports import IMPORTS
from ccl_service.mail.sql import SENDS
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import MAX_CLAIMS, WORK_COLUMNS, Outcome, Queue, Work, WorkLoop, WorkTable
from tests.service.polling import eventually

ERRANDS = WorkTable("errands", claimable=("queued",), columns=("note",))
MINUTE = timedelta(minutes=1)
QUICK: dict[str, Any] = {"poll": timedelta(milliseconds=20)}


@pytest.fixture
async def queue(db: Any) -> Queue:
    await db.execute(f"CREATE TABLE errands (id uuid PRIMARY KEY, note text, {WORK_COLUMNS})")
    await db.execute(f"CREATE INDEX errands_due ON errands (lane, due_at) WHERE state IN ({ERRANDS.states})")
    return Queue(db, ERRANDS)


async def add(db: Any, *, lane: int = 0, note: str = "") -> UUID:
    errand = uuid4()
    sql = "INSERT INTO errands (id, state, lane, note) VALUES ($1, 'queued', $2, $3)"
    await db.execute(sql, errand, lane, note)
    return errand


async def row(db: Any) -> Any:
    return await db.fetchrow("SELECT *, due_at - now() AS wait FROM errands")


async def done(db: Any, work: Work) -> bool:
    sql = "UPDATE errands SET state = 'done', claim_id = NULL, lease_until = NULL WHERE id = $1 AND claim_id = $2"
    return bool(await db.execute(sql, work.id, work.claim))


async def expire(db: Any) -> None:
    await db.execute("UPDATE errands SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")


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


async def test_a_row_is_claimed_once_by_many_at_the_same_time(db: Any, queue: Queue) -> None:
    for _ in range(40):
        await add(db)
    claims = await asyncio.gather(*(queue.claim(uuid4(), MINUTE, 10) for _ in range(8)))
    ids = [work.id for works in claims for work in works]
    assert len(ids) == len(set(ids)) == 40


async def test_lower_lanes_come_first_and_extra_columns_come_along(db: Any, queue: Queue) -> None:
    await add(db, lane=2, note="campaign")
    await add(db, lane=0, note="person")
    (work,) = await queue.claim(uuid4(), MINUTE, 1)
    assert work.row == {"note": "person"}


async def test_beyond_lane_0_no_more_than_asked_for_is_claimed(db: Any, queue: Queue) -> None:
    for lane in (1, 1, 2, 0, 0):
        await add(db, lane=lane)
    works = await queue.claim(uuid4(), MINUTE, 4, beyond_lane_0=1)
    assert sorted(work.lane for work in works) == [0, 0, 1]


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


async def test_an_expired_lease_is_claimed_again_and_the_late_worker_writes_nothing(db: Any, queue: Queue) -> None:
    await add(db)
    (late,) = await queue.claim(uuid4(), MINUTE, 1)
    assert await queue.claim(uuid4(), MINUTE, 1) == []
    await expire(db)
    (now,) = await queue.claim(uuid4(), MINUTE, 1)
    assert (now.id, now.claims) == (late.id, 2)
    assert not await done(db, late)
    assert not any([await queue.park(late, MINUTE), await queue.retry(late, MINUTE), await queue.release(late)])
    assert await done(db, now)


async def test_renewing_keeps_a_row_and_only_that_claim_s(db: Any, queue: Queue) -> None:
    await add(db)
    (work,) = await queue.claim(uuid4(), MINUTE, 1)
    await expire(db)
    await queue.renew(uuid4(), MINUTE)
    assert (await row(db))["lease_until"] < (await db.fetchval("SELECT now()"))
    await queue.renew(work.claim, MINUTE)
    assert await queue.claim(uuid4(), MINUTE, 1) == []


async def test_parking_moves_the_due_time_and_burns_no_attempt(db: Any, queue: Queue) -> None:
    await add(db)
    (work,) = await queue.claim(uuid4(), MINUTE, 1)
    assert await queue.park(work, timedelta(minutes=10))
    parked = await row(db)
    assert (parked["attempts"], parked["claims"], parked["claim_id"]) == (0, 0, None)
    assert timedelta(minutes=9) < parked["wait"] <= timedelta(minutes=10)
    assert await queue.claim(uuid4(), MINUTE, 1) == []


async def test_a_retry_counts_the_attempt(db: Any, queue: Queue) -> None:
    await add(db)
    (work,) = await queue.claim(uuid4(), MINUTE, 1)
    assert await queue.retry(work, timedelta(0))
    (work,) = await queue.claim(uuid4(), MINUTE, 1)
    assert (work.attempts, work.claims) == (1, 1)


async def test_after_five_claims_without_a_result_a_row_is_quarantined(db: Any, queue: Queue) -> None:
    await add(db)
    for number in range(MAX_CLAIMS):
        (work,) = await queue.claim(uuid4(), MINUTE, 1)
        assert work.claims == number + 1
        await expire(db)
    assert await queue.claim(uuid4(), MINUTE, 1) == []
    assert (await row(db))["state"] == "quarantined"


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


async def test_the_claim_reads_the_due_index_of_each_table(db: Any) -> None:
    """A claim that scanned the table would get slower with every row ever worked."""
    for table in (SENDS, IMPORTS):
        async with db.transaction() as tx:
            await tx.execute("SET LOCAL enable_seqscan = off")
            await tx.execute("SET LOCAL enable_bitmapscan = off")
            claim = Queue(tx, table).claim_statement
            for number, value in enumerate(("gen_random_uuid()", "interval '1 minute'", "10", "8"), 1):
                claim = claim.replace(f"${number}", value)
            plan = "\n".join(line[0] for line in await tx.fetch(f"EXPLAIN {claim}"))
        assert plan.count(f"using {table.name}_due") == 2, plan
        assert f"Sort Key: {table.name}" not in plan, plan


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
