"""Migrations on a real server."""

import asyncio
import contextlib
from datetime import timedelta

import asyncpg

from ccl_contract.schema import MigrationKind, MigrationReport
from ccl_service.migrations import OWN_EPOCH
from ccl_service.platform.db import Db
from ccl_service.platform.migrate import migrate, revisions
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.schema import read_facts


async def apply(url: str, *, plan: bool = False) -> MigrationReport:
    return await migrate(url, plan=plan, answer_within=timedelta(seconds=5), lock_within=timedelta(seconds=20))


async def test_an_empty_database_ends_at_the_epoch_of_this_version(empty_database_url: str) -> None:
    report = await apply(empty_database_url)
    assert report.compatible
    assert (report.epoch, report.pending) == (OWN_EPOCH, ())


async def test_it_tells_that_the_database_has_answered_and_not_before(empty_database_url: str) -> None:
    told: list[str] = []
    away = "postgresql://nobody@127.0.0.1:1/nothing"
    for url, seconds in ((away, 0), (empty_database_url, 5)):
        with contextlib.suppress(DatabaseUnavailable):
            await migrate(
                url,
                plan=True,
                answer_within=timedelta(seconds=seconds),
                lock_within=timedelta(seconds=1),
                on_answer=lambda url=url: told.append(url),
            )
    assert told == [empty_database_url]


async def test_a_plan_names_what_is_pending_and_changes_nothing(empty_database_url: str) -> None:
    report = await apply(empty_database_url, plan=True)
    assert [p.id[:4] for p in report.pending] == [r.revision for r in revisions()]
    con = await asyncpg.connect(empty_database_url)
    assert await con.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    await con.close()


async def test_four_at_once_apply_each_revision_once(empty_database_url: str) -> None:
    reports = await asyncio.gather(*(apply(empty_database_url) for _ in range(4)))
    assert {(r.epoch, r.pending) for r in reports} == {(OWN_EPOCH, ())}


async def test_a_database_newer_than_this_version_is_left_alone(database_url: str) -> None:
    con = await asyncpg.connect(database_url)
    await con.execute("UPDATE alembic_version SET version_num = '9999'")
    await con.execute("UPDATE schema_state SET epoch = 99, min_compatible = 98")
    await con.close()
    report = await apply(database_url)
    assert (report.epoch, report.ahead, report.pending) == (99, True, ())


async def test_the_pool_reads_the_same_facts_that_migrate_reported(db: Db) -> None:
    facts = await read_facts(db)
    assert facts is not None
    assert facts.schema.compatible
    assert facts.database.major == 16


def test_every_revision_has_a_kind_and_what_the_kind_asks_for() -> None:
    for revision in revisions():
        wanted = "EPOCH" if revision.module.KIND is MigrationKind.EXPAND else "MIN_COMPATIBLE"
        assert isinstance(getattr(revision.module, wanted), int), revision.path


def test_own_epoch_is_that_of_the_newest_expand() -> None:
    expands = [r.module.EPOCH for r in revisions() if r.module.KIND is MigrationKind.EXPAND]
    assert expands == list(range(1, OWN_EPOCH + 1))
