"""Rows that one process claims a second, and pages of a long list, against the bare statements.

Usage: python -m hack.bench.service.claims [--rows N] [--leads N]
"""

import argparse
import asyncio
import statistics
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from ccl_service.leads import sql
from ccl_service.mail.sql import SENDS
from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.work import Queue
from hack.bench.service.ground import Figure, migrated, report, server, statement

BATCH = 200
PAGE = 50
#: The page that is compared with the first one.
FAR_PAGE = 10_000
SAMPLES = 200
LEASE = timedelta(minutes=1)
SEED_LEADS = """
INSERT INTO leads (id, source, first_name, email, requested_at, created_at)
SELECT gen_random_uuid(), 'api', 'Ann', n || '@example.com', now(), now() - n * interval '1 second'
  FROM generate_series(1, {leads}) AS n"""
SEED_SENDS = (
    "INSERT INTO enrolments (id, sequence, lead_id, occasion)"
    " SELECT gen_random_uuid(), 'first-contact', id, 'intake' FROM leads LIMIT {rows}",
    "INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, lane)"
    " SELECT gen_random_uuid(), id, 0, lead_id, sha256(id::text::bytea), 'queued', 1 FROM enrolments",
)
RECORD = "UPDATE sends SET state = 'accepted', claim_id = NULL, lease_until = NULL, claims = 0 WHERE claim_id = $1"
#: The same change of the same rows, found by their ids and guarded by nothing.
BARE = "UPDATE sends SET claim_id = $2, lease_until = now() + interval '1 minute', claims = 1 WHERE id = ANY($1)"


async def claiming(db: PoolDb) -> tuple[float, int]:
    """Seconds spent on claiming everything that is due, in batches; and how many rows that were.

    The results are recorded between the claims, as workers do; that is not counted.
    """
    queue, rows, took = Queue(db, SENDS), 0, 0.0
    while True:
        claim, started = uuid4(), time.perf_counter()
        works = await queue.claim(claim, LEASE, BATCH)
        took += time.perf_counter() - started
        if not works:
            return took, rows
        rows += len(works)
        await db.execute(RECORD, claim)


async def bare_updates(db: Db) -> float:
    """Seconds to change the same rows in batches of the same size."""
    ids = [row["id"] for row in await db.fetch("SELECT id FROM sends", timeout=60)]
    started = time.perf_counter()
    for at in range(0, len(ids), BATCH):
        await db.execute(BARE, ids[at : at + BATCH], uuid4())
    return time.perf_counter() - started


async def page_times(db: Db, after: tuple[datetime, UUID] | None) -> list[float]:
    """Milliseconds of each of some reads of a page."""
    filters: dict[str, Any] = dict.fromkeys(("state", "source", "since", "until", "who"))
    times = []
    for _ in range(SAMPLES):
        started = time.perf_counter()
        found = await sql.page(db, after=after, limit=PAGE, **filters)
        times.append((time.perf_counter() - started) * 1e3)
        assert len(found) == PAGE
    return times


async def measure(url: str, rows: int, leads: int) -> list[Figure]:
    """All figures."""
    async with migrated(url) as db:
        await statement(url, SEED_LEADS.format(leads=leads), *(text.format(rows=rows) for text in SEED_SENDS))
        await statement(url, "VACUUM ANALYZE leads, sends")
        took, claimed = await claiming(db)
        assert claimed == rows
        await statement(url, "UPDATE sends SET state = 'queued'", "VACUUM ANALYZE sends")
        bare = await bare_updates(db)
        far = min(FAR_PAGE, leads // PAGE - 1)
        cursor = "SELECT created_at, id FROM leads ORDER BY created_at DESC, id DESC OFFSET $1 LIMIT 1"
        row = await db.fetchrow(cursor, far * PAGE - 1, timeout=120)
        assert row is not None
        first = await page_times(db, None)
        later = await page_times(db, (row["created_at"], row["id"]))
    return [
        Figure(
            f"claims of {rows:,} due sends, {BATCH} at a time",
            f"{rows / took:,.0f} rows/s",
            f"{rows / bare:,.0f} rows/s by id",
            bare / took,
            "of the bare rate",
        ),
        *(
            Figure(
                f"page {far:,} of {leads:,} leads, {PAGE} a page, {name}",
                f"{at(later):.2f} ms",
                f"{at(first):.2f} ms for page 1",
                at(later) / at(first),
                "times page 1",
            )
            for name, at in (("median", statistics.median), ("p99", lambda all_of_them: sorted(all_of_them)[-3]))
        ),
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--leads", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with server() as url:
        report("Claims and long lists", asyncio.run(measure(url, arguments.rows, arguments.leads)))


if __name__ == "__main__":
    main()
