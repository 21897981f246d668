"""Rows per second of a CSV import, whole path, against what the database alone can do.

That is, once, COPY of the same people into a table without index; and, the true limit, INSERT ... SELECT of all the
rows that the import made into the same tables with their indexes and foreign keys.

Usage: python -m hack.bench.service.csv_import [--rows N]
"""

import argparse
import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg

from ccl_service.leads import imports
from ccl_service.leads.csv_rows import read_header, read_row, records
from ccl_service.leads.jobs import Importer
from ccl_service.leads.model import LeadDraft
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.db import PoolDb
from ccl_service.platform.work import Queue
from hack.bench.service.ground import Figure, migrated, report, server

HEADER = "first_name,last_name,email,phone,zip,vehicle_interest,monthly_income,credit,consent_text,consent_at\n"
DOMAINS = ("gmail.example.com", "mail.example.org", "example.net")
#: What an import fills, in the order of the foreign keys.
FILLED = ("leads", "lead_keys", "lead_events", "enrolments", "sends")
COLUMNS = ("first_name", "last_name", "email", "phone", "zip", "vehicle_interest", "finance", "consent")


def the_file(rows: int) -> bytes:
    """A file of ``rows`` different people, every field filled."""
    lines = (
        f"Ann,Smith,ann{n}@{DOMAINS[n % 3]},(312) {200 + n // 10_000 % 800}-{n % 10_000:04d},60601,2021 Honda Civic,"
        "4200,good,I agree to be contacted,2026-11-20T10:00:00Z\n"
        for n in range(rows)
    )
    return (HEADER + "".join(lines)).encode()


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """As a request brings it."""
    for at in range(0, len(body), 64 * 1024):
        yield body[at : at + 64 * 1024]


async def whole_path(db: PoolDb, body: bytes) -> tuple[float, int]:
    """Seconds from the claim to the end of the import, and how many became leads."""
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)
    import_id = await staging.stage(pieces(body))
    contacts = FirstContacts(new_id=uuid4, wake=lambda: None)
    importer = Importer(db, contacts, now=lambda: datetime.now(UTC), new_id=uuid4)
    (work,) = await Queue(db, imports.IMPORTS).claim(uuid4(), timedelta(minutes=10), 1)
    started = time.perf_counter()
    await importer.handle(work)
    return time.perf_counter() - started, (await staging.get(import_id))["accepted"]


def validation(body: bytes) -> tuple[float, list[LeadDraft]]:
    """CPU seconds to read and validate every row."""
    header = read_header(body)
    started = time.process_time()
    drafts = [read_row(header, record) for record in records(body[header.size :], header.delimiter, last=True)]
    took = time.process_time() - started
    return took, [draft for draft in drafts if isinstance(draft, LeadDraft)]


async def bare_copy(url: str, drafts: list[LeadDraft]) -> float:
    """Seconds to COPY the same people into a table without index, in one transaction."""
    con = await asyncpg.connect(url)
    try:
        await con.execute(f"CREATE TABLE bare ({', '.join(f'{name} text' for name in COLUMNS)})")
        rows = [(d.first_name, d.last_name, d.email, d.phone, d.zip, d.vehicle_interest, "{}", "{}") for d in drafts]
        started = time.perf_counter()
        await con.copy_records_to_table("bare", records=rows, columns=list(COLUMNS))
        return time.perf_counter() - started
    finally:
        await con.close()


async def bare_inserts(url: str) -> float:
    """Seconds to put the rows that are there into the same tables once more, in one transaction."""
    con = await asyncpg.connect(url)
    try:
        for table in FILLED:
            await con.execute(f"CREATE TABLE saved_{table} AS SELECT * FROM {table}")
        await con.execute("TRUNCATE leads CASCADE")
        started = time.perf_counter()
        async with con.transaction():
            for table in FILLED:
                await con.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM saved_{table}")
        return time.perf_counter() - started
    finally:
        await con.close()


async def measure(url: str, rows: int) -> list[Figure]:
    """All figures."""
    body = the_file(rows)
    cpu, drafts = validation(body)
    assert len(drafts) == rows
    async with migrated(url) as db:
        took, accepted = await whole_path(db, body)
        assert accepted == rows
        again, _ = await whole_path(db, body[: len(body) // 10].rpartition(b"\n")[0] + b"\n")
    inserted, copied = await bare_inserts(url), await bare_copy(url, drafts)
    return figures(rows, cpu=cpu, took=took, again=again, inserted=inserted, copied=copied)


def figures(rows: int, *, cpu: float, took: float, again: float, inserted: float, copied: float) -> list[Figure]:
    """The table; all times in seconds, ``again`` that of a tenth of the rows."""
    bare = f"{rows / inserted:,.0f} rows/s INSERT ... SELECT"
    return [
        Figure(
            "import of new people: validate, dedupe, store with timeline and queued first mail",
            f"{rows / took:,.0f} rows/s",
            bare,
            inserted / took,
            "of the database's own rate",
        ),
        Figure(
            "the same people again (each one looked up, completed and noted)",
            f"{rows / 10 / again:,.0f} rows/s",
            bare,
            inserted / (again * 10),
            "of the database's own rate",
        ),
        Figure(
            "the database's own rate: all five tables with indexes and foreign keys",
            f"{rows / inserted:,.0f} rows/s",
            f"{rows / copied:,.0f} rows/s COPY without index",
            copied / inserted,
            "of COPY",
        ),
        Figure(
            "reading and validating alone",
            f"{cpu / rows * 1e6:.0f} µs CPU a row",
            f"{took / rows * 1e6:.0f} µs a row whole",
            cpu / took,
            "of the whole path",
        ),
    ]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=30_000)
    arguments = parser.parse_args()
    with server() as url:
        report("CSV import", asyncio.run(measure(url, arguments.rows)))


if __name__ == "__main__":
    main()
