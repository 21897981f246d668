"""Reads on a real streaming replica: when they go there, and that nothing fails when they cannot."""

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from ccl_service.platform import replicas as module
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.migrate import migrate
from ccl_service.platform.replicas import Replicas
from ccl_service.platform.telemetry import Metrics
from tests.service.polling import eventually
from tests.service.processes import running, until_status
from tests.service.servers import Server, primary, standby

WHERE = "SELECT pg_is_in_recovery()"
BEAT = "INSERT INTO instances (pod, revision, role) VALUES (gen_random_uuid()::text, 'r', 'web')"


@dataclasses.dataclass(frozen=True)
class Pair:
    """A primary and its copy."""

    primary: Server
    replica: Server


@pytest.fixture(scope="module")
def source() -> Iterator[Server]:
    """The primary, migrated."""
    with primary() as server:
        seconds = timedelta(seconds=30)
        asyncio.run(migrate(server.url(), contract=True, answer_within=seconds, lock_within=seconds))
        yield server


@pytest.fixture
def pair(source: Server) -> Iterator[Pair]:
    """With a copy of this test's own, which it may kill."""
    with standby(source) as copy:
        yield Pair(source, copy)


@dataclasses.dataclass(frozen=True)
class Desk:
    """The service's pools on the pair."""

    db: PoolDb
    replicas: Replicas
    metrics: Metrics

    async def on_replica(self) -> bool:
        """Whether a read goes to the replica, looking anew."""
        await self.replicas.look()
        return bool(await self.db.read.fetchval(WHERE))


@pytest.fixture
async def desk(pair: Pair) -> AsyncIterator[Desk]:
    metrics = Metrics()
    async with contextlib.AsyncExitStack() as stack:
        pools = [PoolDb(server.url(), PoolSize(connections=3)) for server in (pair.primary, pair.replica)]
        for pool in pools:
            await pool.open()
            stack.push_async_callback(pool.close)
        clock = asyncio.get_running_loop().time
        yield Desk(pools[0], Replicas(pools[0], pools[1:], metrics, clock=clock), metrics)


async def test_before_the_first_look_everything_is_read_from_the_primary(desk: Desk) -> None:
    assert not await desk.db.read.fetchval(WHERE)


async def test_a_marked_read_goes_to_a_fresh_replica_and_nothing_else_does(desk: Desk) -> None:
    await eventually(desk.on_replica, within=60)
    assert (await desk.db.read.fetch(WHERE))[0][0]
    row = await desk.db.read.fetchrow(WHERE)
    assert row is not None
    assert row[0]
    assert not await desk.db.fetchval(WHERE)
    async with desk.db.read.transaction() as tx:
        assert not await tx.fetchval(WHERE)


async def test_who_has_just_written_reads_from_the_primary(desk: Desk) -> None:
    await eventually(desk.on_replica, within=60)

    async def read() -> bool:
        return bool(await desk.db.read.fetchval(WHERE))

    assert not await desk.replicas.around("ana", read(), writes=True)
    assert not await desk.replicas.around("ana", read(), writes=False)
    assert await desk.replicas.around("bob", read(), writes=False)


async def test_a_replica_that_falls_behind_is_not_read_until_it_has_caught_up(
    desk: Desk, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_LAG_SECONDS", 0.3)
    await eventually(desk.on_replica, within=60)
    replica = await asyncpg.connect(pair.replica.url())
    try:
        await replica.execute("SELECT pg_wal_replay_pause()")

        async def behind() -> bool:
            await desk.db.execute(BEAT)
            return not await desk.on_replica()

        await eventually(behind, within=60)
        assert desk.metrics.value("ccl_db_replica_usable", replica="1") == 0
        await replica.execute("SELECT pg_wal_replay_resume()")
        await eventually(desk.on_replica, within=60)
    finally:
        await replica.close()


async def test_a_promoted_replica_is_no_copy_any_more(desk: Desk, pair: Pair) -> None:
    await eventually(desk.on_replica, within=60)
    replica = await asyncpg.connect(pair.replica.url())
    try:
        assert await replica.fetchval("SELECT pg_promote(true, 60)")
    finally:
        await replica.close()
    await desk.replicas.look()
    assert desk.metrics.value("ccl_db_replica_usable", replica="1") == 0


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_no_read_fails_when_a_replica_dies_or_freezes(desk: Desk, pair: Pair, how: str) -> None:
    await eventually(desk.on_replica, within=60)
    getattr(pair.replica, how)()

    async def left_alone() -> bool:
        answers = await asyncio.gather(*(desk.db.read.fetchval(WHERE) for _ in range(20)))
        return answers == [False] * 20

    await eventually(left_alone, within=30)
    fallbacks = desk.metrics.value("ccl_db_reads_total", target="fallback")
    assert fallbacks >= 1
    assert not await desk.db.read.fetchval(WHERE)
    assert desk.metrics.value("ccl_db_reads_total", target="fallback") == fallbacks


async def test_a_read_that_replay_cancels_is_answered_by_the_primary(desk: Desk, pair: Pair) -> None:
    """The lock that a vacuum or a migration replays goes before a reader (PostgreSQL, hot standby conflicts)."""
    await eventually(desk.on_replica, within=60)
    replica = await asyncpg.connect(pair.replica.url())
    try:
        await replica.execute("ALTER SYSTEM SET max_standby_streaming_delay = 0")
        await replica.execute("SELECT pg_reload_conf()")
    finally:
        await replica.close()
    await desk.db.execute("CREATE TABLE IF NOT EXISTS watched AS SELECT 1 AS n")

    async def there() -> bool:
        with contextlib.suppress(asyncpg.UndefinedTableError):
            return bool(await desk.db.read.fetchval("SELECT count(*) FROM watched"))
        return False

    await eventually(there, within=60)
    reading = asyncio.create_task(desk.db.read.fetchval("SELECT pg_is_in_recovery() FROM watched, pg_sleep(0.8)"))

    async def begun() -> bool:
        looking = await asyncpg.connect(pair.replica.url())
        try:
            return bool(
                await looking.fetchval("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(0.8)'")
            )
        finally:
            await looking.close()

    await eventually(begun, within=30)
    await desk.db.execute("ALTER TABLE watched ADD COLUMN IF NOT EXISTS m int")
    assert await reading is False


async def test_the_service_reads_lists_from_the_replica_and_shows_a_writer_their_own(
    pair: Pair, environ: dict[str, str], root: dict[str, str]
) -> None:
    import aiohttp

    urls = {"DATABASE_URL": pair.primary.url(), "DATABASE_REPLICA_URLS": pair.replica.url()}
    async with running(environ | urls) as process, aiohttp.ClientSession(process.url, headers=root) as http:
        await until_status(http, f"{process.url}/ready", 200)

        async def listed() -> list[Any]:
            async with http.get("/api/leads") as answer:
                assert answer.status == 200
                return list((await answer.json())["items"])

        async def from_replica() -> bool:
            await listed()
            return await _metric(http, "ccl_db_reads_total", "replica") > 0

        await eventually(from_replica, within=60)
        async with http.post("/api/leads", json={"first_name": "Ana", "email": "ana@example.org"}) as answer:
            assert answer.status == 201
            lead = (await answer.json())["id"]
        before = await _metric(http, "ccl_db_reads_total", "replica")
        assert [item["id"] for item in await listed()] == [lead]
        async with http.get(f"/api/leads/{lead}") as answer:
            assert answer.status == 200
        assert await _metric(http, "ccl_db_reads_total", "replica") == before


async def _metric(http: Any, name: str, target: str) -> float:
    async with http.get("/api/monitoring/metrics") as answer:
        samples = (await answer.json())["metrics"]
    found = [s["value"] for s in samples if s["name"] == name and s["labels"].get("target") == target]
    return float(sum(found))
