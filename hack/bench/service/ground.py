"""What the benchmarks stand on: a PostgreSQL of their own, a migrated database, a figure with its ratio.

The server keeps PostgreSQL's defaults (durable commits), with 256 MB of shared buffers.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.migrate import migrate
from hack.postgres import start_postgres

POSTGRES_MAJOR = 16


@dataclass(frozen=True)
class Figure:
    """One line of the result. ``ratio`` compares with the bare limit, in the direction that ``meaning`` says."""

    what: str
    measured: str
    bare: str
    ratio: float
    meaning: str


@contextlib.contextmanager
def server() -> Iterator[str]:
    """The URL of a PostgreSQL that is gone afterwards."""
    os.environ["PGSERVER_POSTGRES_VERSION"] = str(POSTGRES_MAJOR)
    folder = Path(tempfile.mkdtemp(prefix="ccl-bench-"))
    found = start_postgres(folder / "data", version=POSTGRES_MAJOR, cleanup_mode="delete")
    try:
        found.psql("ALTER SYSTEM SET jit = off")
        found.psql("SELECT pg_reload_conf()")
        yield found.get_uri()
    finally:
        found.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def migrated(url: str, *, connections: int = 5) -> AsyncIterator[PoolDb]:
    """The service's pool on this server's database, with every migration applied."""
    await migrate(url, contract=True, answer_within=timedelta(seconds=30), lock_within=timedelta(seconds=30))
    db = PoolDb(url, PoolSize(connections=connections))
    await db.open()
    try:
        yield db
    finally:
        await db.close()


async def statement(url: str, *texts: str) -> None:
    """Run statements that may take minutes, on a connection of their own."""
    con = await asyncpg.connect(url)
    try:
        for text in texts:
            await con.execute(text, timeout=600)
    finally:
        await con.close()


def report(title: str, figures: Sequence[Figure]) -> None:
    """Print a Markdown table with where and when it was measured."""
    commit = subprocess.run(("git", "rev-parse", "--short", "HEAD"), capture_output=True, text=True, check=False)
    load = os.getloadavg()[0]
    print(f"### {title}\n")
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit.stdout.strip() or '?'}, ", end="")
    print(f"{os.cpu_count()} CPUs, load {load:.1f} at the end\n")
    print("| what | measured | bare limit | ratio |\n|---|---|---|---|")
    for one in figures:
        print(f"| {one.what} | {one.measured} | {one.bare} | {one.ratio:.2f} ({one.meaning}) |")
