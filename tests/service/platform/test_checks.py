"""Production-readiness checks that ask the database about the fleet."""

import asyncio
import time
from dataclasses import replace

from ccl_contract.readiness import Check, CheckStatus
from ccl_service.platform.checks import Subject, register_all
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from ccl_service.platform.instances import Heartbeat, Instance, live_web
from ccl_service.platform.limits import RedisCounts
from ccl_service.platform.readiness import CheckRegistry


async def verdict(name: str, settings: Settings, db: Db, redis: RedisCounts | None = None) -> Check:
    registry = CheckRegistry()
    register_all(registry, Subject(settings, db, redis))
    return next(check for check in await registry.run() if check.id == name)


async def beat(db: Db, *instances: Instance) -> None:
    for instance in instances:
        await Heartbeat(db, instance).beat()


WEB = Instance("web-1", "rev-1", "web")


async def test_redis_is_required_as_soon_as_two_web_instances_of_this_revision_live(
    settings: Settings, db: Db, redis_server: str
) -> None:
    await beat(db, WEB, Instance("jobs-1", "rev-1", "jobs"), Instance("web-9", "rev-0", "web"))
    assert (await verdict("Redis", settings, db)).status is CheckStatus.PASS
    await beat(db, replace(WEB, pod="web-2"))
    assert (await verdict("Redis", settings, db)).status is CheckStatus.FAIL
    redis = RedisCounts(redis_server)
    assert (await verdict("Redis", settings, db, redis)).status is CheckStatus.PASS
    await redis.close()


async def test_an_instance_unseen_for_30_seconds_does_not_count(db: Db) -> None:
    await beat(db, WEB)
    await db.execute("UPDATE instances SET seen_at = now() - interval '31 seconds'")
    assert await live_web(db, "rev-1") == 0


async def test_an_instance_that_stops_takes_its_row_along(db: Db) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(Heartbeat(db, WEB).run(stop))
    deadline = time.monotonic() + 5
    while await live_web(db, "rev-1") == 0:
        assert time.monotonic() < deadline
    stop.set()
    await running
    assert await db.fetchval("SELECT count(*) FROM instances") == 0


async def test_pools_larger_than_the_server_allows_are_a_warning(settings: Settings, db: Db) -> None:
    assert (await verdict("PoolFits", settings, db)).status is CheckStatus.PASS
    greedy = settings.model_copy(update={"db_pool_size": 1000})
    assert (await verdict("PoolFits", greedy, db)).status is CheckStatus.WARN


async def test_a_schema_that_has_left_this_version_behind_fails(settings: Settings, db: Db) -> None:
    await db.execute("UPDATE schema_state SET epoch = 99, min_compatible = 98")
    found = await verdict("SchemaCompatible", settings, db)
    assert (found.status, found.reason) == (CheckStatus.FAIL, "SchemaAhead")


async def test_without_a_postal_address_readiness_fails(settings: Settings, db: Db) -> None:
    assert (await verdict("PostalAddress", settings, db)).status is CheckStatus.FAIL


async def test_a_public_url_without_tls_fails_and_none_warns(settings: Settings, db: Db) -> None:
    for url, status in (
        (None, CheckStatus.WARN),
        ("http://x.example", CheckStatus.FAIL),
        ("https://x.example", CheckStatus.PASS),
    ):
        changed = settings.model_copy(update={"public_base_url": url})
        assert (await verdict("Tls", changed, db)).status is status


async def test_a_check_that_breaks_is_reported_as_failed_without_its_inside() -> None:
    async def breaks() -> Check:
        raise KeyError("secret inside")

    registry = CheckRegistry()
    registry.register("Broken", breaks)
    (found,) = await registry.run()
    assert (found.status, found.reason) == (CheckStatus.FAIL, "CheckBroken")
    assert "secret" not in found.message
