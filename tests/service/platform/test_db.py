"""The pool on a real server, and in front of a database that freezes."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ccl_service.platform.db import Db, PoolDb, PoolSize
from ccl_service.platform.db_errors import ConnectionLost
from ccl_service.platform.problems import ConstraintViolated, DatabaseUnavailable, StatementAborted
from tests.service.polling import eventually


async def test_a_transaction_that_fails_leaves_nothing(db: Db) -> None:
    async def fail_half_way() -> None:
        async with db.transaction() as tx:
            await tx.execute("INSERT INTO deployment_identity (id) VALUES ('x')")
            raise KeyError

    with pytest.raises(KeyError):
        await fail_half_way()
    assert await db.fetchval("SELECT count(*) FROM deployment_identity") == 0


async def test_an_inner_transaction_fails_alone(db: Db) -> None:
    async with db.transaction() as tx:
        await tx.execute("INSERT INTO deployment_identity (id) VALUES ('kept')")
        with pytest.raises(ConstraintViolated) as caught:
            async with tx.transaction() as inner:
                await inner.execute("INSERT INTO deployment_identity (id) VALUES ('twice')")
    assert (caught.value.kind, caught.value.constraint) == ("unique", "deployment_identity_pkey")
    assert await db.fetchval("SELECT id FROM deployment_identity") == "kept"


async def test_a_statement_that_takes_too_long_is_cancelled_and_the_pool_recovers(db: PoolDb) -> None:
    with pytest.raises(DatabaseUnavailable):
        async with db.transaction() as tx:
            await tx.fetchval("SELECT pg_sleep(30)", timeout=0.05)
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query = 'SELECT pg_sleep(30)'"
    deadline = time.monotonic() + 5
    while await db.fetchval(sleeping):
        assert time.monotonic() < deadline, "the statement goes on in the server"
    assert await asyncio.gather(*(db.fetchval("SELECT 1") for _ in range(20))) == [1] * 20


async def test_waiting_for_a_connection_ends_after_two_seconds(db: PoolDb) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(db.size):
            await stack.enter_async_context(db.connection())
        started = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            await db.fetchval("SELECT 1")
        assert 1.9 < time.monotonic() - started < 10


async def test_waiters_are_served_in_order(db: PoolDb) -> None:
    served: list[int] = []

    async def one(number: int) -> None:
        await db.fetchval("SELECT pg_sleep(0.005)")
        served.append(number)

    async with contextlib.AsyncExitStack() as stack:
        for _ in range(db.size - 1):
            await stack.enter_async_context(db.connection())
        tasks = [asyncio.create_task(one(number)) for number in range(10)]
        await asyncio.gather(*tasks)
    assert served == list(range(10))


async def test_a_lock_time_out_asks_for_another_attempt(db: Db) -> None:
    async with db.transaction() as holder:
        await holder.execute("LOCK TABLE instances")
        async with db.transaction() as other:
            await other.execute("SET LOCAL lock_timeout = '20ms'")
            with pytest.raises(StatementAborted):
                await other.execute("LOCK TABLE instances")


@contextlib.asynccontextmanager
async def freezable(dsn: str) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A URL that leads to ``dsn`` as long as the event is set; nothing flows while it is clear."""
    flows = asyncio.Event()
    flows.set()
    url = urlsplit(dsn)
    upstream = Path(parse_qs(url.query)["host"][0]) / ".s.PGSQL.5432"
    tasks: set[asyncio.Task[None]] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            await flows.wait()
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(upstream)
        for pair in ((reader, up_writer), (up_reader, writer)):
            task = asyncio.create_task(copy(*pair))
            tasks.add(task)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}{url.path}?sslmode=disable", flows
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_frozen_database_is_answered_for_within_five_seconds_and_forgiven_later(database_url: str) -> None:
    async with freezable(database_url) as (url, flows):
        pool = PoolDb(url, PoolSize(connections=2))
        await pool.open()
        assert await pool.fetchval("SELECT 1") == 1
        flows.clear()

        async def work() -> None:
            async with pool.transaction() as tx:
                await tx.fetchval("SELECT 1")

        started = time.monotonic()
        results = await asyncio.gather(*(work() for _ in range(6)), return_exceptions=True)
        assert time.monotonic() - started < 5
        assert [type(r) for r in results] == [DatabaseUnavailable] * 6
        flows.set()
        async with asyncio.timeout(8):
            while True:
                with contextlib.suppress(DatabaseUnavailable):
                    assert await pool.fetchval("SELECT 1") == 1
                    break
        await pool.close()


SLOW = "SELECT 'answered' FROM pg_sleep(0.4)"


async def cut_off_once(db: PoolDb) -> None:
    """End the connection under the slow statement, as a server does that is being replaced."""
    end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE state = 'active' AND query = $1"
    async with asyncio.timeout(10):
        while not await db.fetchval(end, SLOW):
            continue


async def test_a_read_that_loses_its_connection_is_asked_again_on_another(db: PoolDb) -> None:
    answer, _ = await asyncio.gather(db.read.fetchval(SLOW), cut_off_once(db))
    assert answer == "answered"


async def test_a_statement_that_may_write_is_not_asked_again(db: PoolDb) -> None:
    answer, _ = await asyncio.gather(db.fetchval(SLOW), cut_off_once(db), return_exceptions=True)
    assert isinstance(answer, ConnectionLost)


PID = "SELECT pg_backend_pid()"


async def ended(db: Db, pid: int, *, within: float = 10) -> None:
    """Wait until the server no longer has this connection."""

    async def gone() -> bool:
        return not await db.fetchval("SELECT count(*) FROM pg_stat_activity WHERE pid = $1", pid)

    await eventually(gone, within=within)


@contextlib.asynccontextmanager
async def opened(url: str, size: PoolSize) -> AsyncIterator[PoolDb]:
    """A pool of its own."""
    pool = PoolDb(url, size)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


async def test_the_connection_that_was_given_back_last_is_lent_first(db: PoolDb) -> None:
    async with db.connection() as first, db.connection():
        pid = await first.fetchval(PID)
        assert db.in_use == 2
    assert db.in_use == 0
    assert [await db.fetchval(PID) for _ in range(3)] == [pid] * 3


async def test_a_connection_that_nobody_needs_is_closed_after_a_while(db: PoolDb, database_url: str) -> None:
    async with opened(database_url, PoolSize(connections=2, idle=timedelta(seconds=0.2))) as pool:
        async with pool.connection() as lent:
            pid = await lent.fetchval(PID)
            idle = await pool.fetchval(PID)
            await ended(db, idle)
            assert await lent.fetchval(PID) == pid, "what is lent is not idle"
        await ended(db, pid)
        assert await pool.fetchval(PID) not in {pid, idle}


async def test_a_kept_connection_that_the_server_ended_is_not_lent_again(db: PoolDb, database_url: str) -> None:
    async with opened(database_url, PoolSize(connections=1)) as pool:
        pid = await pool.fetchval(PID)
        await db.fetchval("SELECT pg_terminate_backend($1)", pid)
        await ended(db, pid)
        assert await pool.read.fetchval(PID) != pid
        assert pool.in_use == 0


async def test_closing_ends_what_is_kept_and_then_what_is_given_back(db: PoolDb, database_url: str) -> None:
    async with opened(database_url, PoolSize(connections=2)) as pool:
        async with pool.connection() as lent:
            pid, kept = await lent.fetchval(PID), await pool.fetchval(PID)
            closing = asyncio.create_task(pool.close())
            await ended(db, kept)
        await closing
        await ended(db, pid)
