"""Claims, leases, parking, retries and quarantine on a table of its own."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

from ccl_service.leads.imports import IMPORTS
from ccl_service.mail.sql import SENDS
from ccl_service.platform.work import MAX_CLAIMS, Queue
from tests.service.work.errands import add, done, row

MINUTE = timedelta(minutes=1)


async def expire(db: Any) -> None:
    await db.execute("UPDATE errands SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")


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
