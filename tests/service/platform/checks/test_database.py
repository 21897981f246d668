"""Checks that ask the database: reachable, what it is, its clock, the fleet around it."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from ccl_service.platform.assembly import wall_clock
from ccl_service.platform.checks.database import skew_verdict, version_verdict
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db, PoolDb, PoolSize
from ccl_service.platform.instances import Heartbeat, Instance, live_web
from ccl_service.platform.redis_counts import RedisCounts
from hack.ports import free_port
from hack.postgres import start_postgres
from tests.service.conftest import with_database
from tests.service.platform.checks.asking import status_and_reason
from tests.volatile import volatile_folder

WEB = Instance("web-1", "rev-1", "web")


async def beat(db: Db, *instances: Instance) -> None:
    for instance in instances:
        await Heartbeat(db, instance).beat()


@pytest.fixture
def dead_port() -> int:
    return free_port()


@pytest.fixture
async def dead_db(dead_port: int) -> AsyncIterator[PoolDb]:
    """A pool whose server is away."""
    pool = PoolDb(f"postgresql://ccl@127.0.0.1:{dead_port}/ccl", PoolSize(connections=2))
    await pool.open()
    yield pool
    await pool.close()


@pytest.mark.parametrize("name", ["DatabaseReachable", "DatabaseVersion", "SchemaCompatible", "ClockSkew", "PoolFits"])
async def test_a_database_that_answers_and_fits_passes(name: str, settings: Settings, db: Db) -> None:
    assert await status_and_reason(name, settings, db) == ("pass", "")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("DatabaseReachable", ("fail", "NoAnswer")),
        ("SchemaCompatible", ("fail", "Unknown")),
        ("DatabaseVersion", ("warn", "Unknown")),
        ("ClockSkew", ("warn", "Unknown")),
        ("Redis", ("warn", "Unknown")),
        ("PoolFits", ("warn", "Unknown")),
    ],
)
async def test_a_database_that_is_away_fails_two_checks_and_the_others_do_not_know(
    name: str, found: tuple[str, str], settings: Settings, dead_db: PoolDb
) -> None:
    assert await status_and_reason(name, settings, dead_db) == found


@pytest.fixture
def newest_postgres() -> Iterator[str]:
    """The URL of a server newer than those that are tested, with an empty database."""
    with volatile_folder("ccl-pg18-") as folder:
        server = start_postgres(folder / "data", version=18, cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


async def test_a_server_newer_than_those_tested_is_a_warning(settings: Settings, newest_postgres: str) -> None:
    pool = PoolDb(newest_postgres, PoolSize(connections=2))
    await pool.open()
    try:
        assert await status_and_reason("DatabaseVersion", settings, pool) == ("warn", "Untested")
    finally:
        await pool.close()


@pytest.mark.parametrize(("number", "status"), [(130_016, "fail"), (140_000, "pass"), (170_004, "pass")])
def test_versions_14_to_17_are_supported(number: int, status: str) -> None:
    assert version_verdict(number).status == status


async def test_a_database_without_migrations_is_behind(settings: Settings, empty_database_url: str) -> None:
    pool = PoolDb(empty_database_url, PoolSize(connections=2))
    await pool.open()
    try:
        assert await status_and_reason("SchemaCompatible", settings, pool) == ("fail", "SchemaBehind")
    finally:
        await pool.close()


async def test_a_schema_that_has_left_this_version_behind_fails(settings: Settings, db: Db) -> None:
    await db.execute("UPDATE schema_state SET epoch = 99, min_compatible = 98")
    assert await status_and_reason("SchemaCompatible", settings, db) == ("fail", "SchemaAhead")


@pytest.mark.parametrize(("hours", "status"), [(-1, "fail"), (1, "fail")])
async def test_a_clock_far_from_the_databases_fails(hours: int, status: str, settings: Settings, db: Db) -> None:
    found = await status_and_reason("ClockSkew", settings, db, clock=lambda: wall_clock() + timedelta(hours=hours))
    assert found == (status, "Skewed")


@pytest.mark.parametrize(
    ("seconds", "status"), [(-1.0, "pass"), (2.0, "pass"), (2.1, "warn"), (60.0, "warn"), (60.1, "fail")]
)
def test_two_seconds_are_seen_and_a_minute_is_wrong(seconds: float, status: str) -> None:
    assert skew_verdict(timedelta(seconds=seconds)).status == status


async def test_redis_is_required_as_soon_as_two_web_instances_of_this_revision_live(
    settings: Settings, db: Db, redis_server: str
) -> None:
    await beat(db, WEB, Instance("jobs-1", "rev-1", "jobs"), Instance("web-9", "rev-0", "web"))
    assert await status_and_reason("Redis", settings, db) == ("pass", "")
    await beat(db, replace(WEB, pod="web-2"))
    assert await status_and_reason("Redis", settings, db) == ("fail", "Missing")
    redis = RedisCounts(redis_server, deployment="checks", process="1")
    assert await status_and_reason("Redis", settings, db, redis=redis) == ("pass", "")
    await redis.close()


async def test_a_redis_that_is_away_is_a_warning(settings: Settings, db: Db, dead_port: int) -> None:
    redis = RedisCounts(f"redis://127.0.0.1:{dead_port}/0", deployment="checks", process="1")
    assert await status_and_reason("Redis", settings, db, redis=redis) == ("warn", "NoAnswer")
    await redis.close()


async def test_an_instance_unseen_for_30_seconds_does_not_count(db: Db) -> None:
    await beat(db, WEB)
    await db.execute("UPDATE instances SET seen_at = now() - interval '31 seconds'")
    assert await live_web(db, "rev-1") == 0


async def test_pools_larger_than_the_server_allows_are_a_warning(settings: Settings, db: Db) -> None:
    greedy = settings.model_copy(update={"db_pool_size": 1000})
    assert await status_and_reason("PoolFits", greedy, db) == ("warn", "TooMany")


async def test_the_pools_of_every_live_process_count(settings: Settings, db: Db) -> None:
    most = int(await db.fetchval("SHOW max_connections"))
    sized = settings.model_copy(update={"db_pool_size": most // 2})
    assert await status_and_reason("PoolFits", sized, db) == ("pass", "")
    await beat(db, WEB, Instance("jobs-1", "rev-0", "jobs"))
    assert await status_and_reason("PoolFits", sized, db) == ("warn", "TooMany")


async def test_behind_a_pooler_the_servers_limit_is_not_compared(settings: Settings, db: Db) -> None:
    pooled = {"db_pool_size": 1000, "database_direct_url": SecretStr("postgresql://server/ccl")}
    assert await status_and_reason("PoolFits", settings.model_copy(update=pooled), db) == ("pass", "BehindPooler")


async def test_a_replica_that_follows_nobody_or_is_away_is_a_warning(
    settings: Settings, db: Db, database_url: str, dead_port: int
) -> None:
    assert await status_and_reason("ReadReplicas", settings, db) == ("pass", "")
    for urls, found in (
        ([database_url], ("warn", "NotAReplica")),
        ([database_url, f"postgresql://ccl@127.0.0.1:{dead_port}/ccl"], ("warn", "NoAnswer")),
        ([with_database(database_url, "absent")], ("warn", "NoAnswer")),
    ):
        changed = settings.model_copy(update={"database_replica_urls": tuple(map(SecretStr, urls))})
        assert await status_and_reason("ReadReplicas", changed, db) == found
