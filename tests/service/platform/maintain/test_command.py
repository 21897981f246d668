"""``ccl-service maintain`` as a CronJob runs it: the database variables, the keys, and nothing else."""

import asyncio
import json
from pathlib import Path

import asyncpg
import pytest

from ccl_contract.maintenance import REPORT_MAX_BYTES, MaintenanceReport, Task, TaskStatus
from ccl_service.platform.db import PoolDb
from ccl_service.platform.maintain.retention import RULES
from ccl_service.platform.maintain.run import LOCK_ID, Outcome, Upkeep, maintain, tasks
from ccl_service.platform.maintain.statistics import analyze_due
from tests.service.platform.console import JWT, ccl_service, start
from tests.service.platform.maintain import rows
from tests.service.platform.maintain.conftest import Open
from tests.service.platform.maintain.rows import put
from tests.service.polling import eventually


@pytest.fixture
def few(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "JWT_SECRET": JWT}


async def test_it_needs_the_database_and_the_key_and_reports_every_task(few: dict[str, str], db: PoolDb) -> None:
    await put(db, rows.CONVERSATION, "31 days")
    done = await ccl_service("maintain", "--json", environ=few)
    assert (done.code, done.err) == (0, done.err)
    report = MaintenanceReport.model_validate_json(done.out)
    by_name = {task.name: task for task in report.tasks}
    assert (report.v, report.busy, report.dry_run) == (1, False, False)
    assert (by_name["retention:chat"].changed, by_name["audit:seal"].changed) == (1, 1)
    assert {task.status for task in report.tasks} == {TaskStatus.OK}
    assert await db.fetchval("SELECT count(*) FROM audit_log WHERE seq = 1") == 1


async def test_keys_come_from_files_as_the_operator_mounts_them(few: dict[str, str], tmp_path: Path) -> None:
    key = tmp_path / "jwt.json"
    key.write_text(few.pop("JWT_SECRET"))
    done = await ccl_service("maintain", environ=few | {"JWT_SECRET_FILE": str(key)})
    assert done.code == 0, done.err
    assert "retention:leads" in done.out


async def test_a_dry_run_changes_nothing(few: dict[str, str], db: PoolDb) -> None:
    await put(db, rows.CONVERSATION, "31 days")
    done = await ccl_service("maintain", "--dry-run", environ=few)
    assert (done.code, done.out.splitlines()[-1]) == (0, "(dry run: nothing was changed)")
    assert await db.fetchval("SELECT count(*) FROM conversations") == 1


async def test_a_second_run_at_the_same_time_says_so_and_does_nothing(
    few: dict[str, str], db: PoolDb, database_url: str
) -> None:
    await put(db, rows.CONVERSATION, "31 days")
    first = await asyncpg.connect(database_url)
    try:
        await first.execute(f"SELECT pg_advisory_lock({LOCK_ID})")
        done = await ccl_service("maintain", environ=few)
        told = MaintenanceReport.model_validate_json((await ccl_service("maintain", "--json", environ=few)).out)
    finally:
        await first.close()
    assert (done.code, done.out) == (0, "another run is at work; nothing done\n")
    assert (told.busy, told.tasks) == (True, ())
    assert await db.fetchval("SELECT count(*) FROM conversations") == 1


OLD = (
    "INSERT INTO conversations (id, created_at, last_at) SELECT gen_random_uuid(), now() - interval '40 days',"
    " now() - interval '40 days' FROM generate_series(1, {count})"
)


async def purged(db: PoolDb) -> int:
    found: int = await db.fetchval("SELECT COALESCE(sum(objects), 0) FROM audit_log WHERE action = 'retention:purged'")
    return found


async def test_two_runs_at_once_do_each_thing_once(few: dict[str, str], db: PoolDb) -> None:
    await db.execute(OLD.format(count=1000))
    both = await asyncio.gather(*(ccl_service("maintain", "--json", environ=few) for _ in range(2)))
    reports = [MaintenanceReport.model_validate_json(done.out) for done in both]
    assert [done.code for done in both] == [0, 0]
    changed = [task.changed for report in reports for task in report.tasks if task.name == "retention:chat"]
    assert (sum(changed), await purged(db)) == (1000, 1000)


async def test_a_run_that_is_killed_leaves_nothing_half_done_and_the_next_goes_on(
    few: dict[str, str], db: PoolDb
) -> None:
    await db.execute(OLD.format(count=20_000))
    process = await start("maintain", environ=few)

    async def begun() -> bool:
        return await purged(db) > 0

    await eventually(begun, within=30)
    process.kill()
    await process.communicate()
    gone = 20_000 - await db.fetchval("SELECT count(*) FROM conversations")
    assert await purged(db) == gone
    done = await ccl_service("maintain", environ=few)
    assert done.code == 0
    assert (await db.fetchval("SELECT count(*) FROM conversations"), await purged(db)) == (0, 20_000)


async def test_findings_do_not_fail_the_run(few: dict[str, str], db: PoolDb) -> None:
    await put(db, rows.IMPORT, state="quarantined")
    done = await ccl_service("maintain", environ=few)
    line = next(line for line in done.out.splitlines() if line.startswith("integrity:imports-quarantined"))
    assert (done.code, line.split()[1]) == (0, "attention")


async def test_a_database_that_is_away_ends_it_with_one_line(few: dict[str, str]) -> None:
    away = few | {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x"}
    done = await ccl_service("maintain", environ=away)
    assert (done.code, done.err) == (1, "ccl-service: maintain: The database does not answer\n")


async def test_missing_variables_are_named(few: dict[str, str]) -> None:
    done = await ccl_service("maintain", environ={})
    assert done.code == 1
    assert "DATABASE_URL is missing" in done.err
    assert "JWT_SECRET is missing" in done.err
    assert "MAILGUN" not in done.err


async def test_the_short_report_goes_where_kubernetes_looks(few: dict[str, str], db: PoolDb, tmp_path: Path) -> None:
    await put(db, rows.CONVERSATION, "31 days")
    log = tmp_path / "termination-log"
    log.touch()
    await ccl_service("maintain", "--report", str(log), environ=few)
    told = json.loads(log.read_text())
    assert {task["name"]: task["changed"] for task in told["tasks"]} == {"retention:chat": 1, "audit:seal": 1}


async def test_a_task_that_fails_is_told_and_the_others_run(db: PoolDb, upkeep: Open) -> None:
    async def broken(_: Upkeep) -> Outcome:
        await db.execute("SELECT 1 / 0")
        return Outcome()

    async def fine(_: Upkeep) -> Outcome:
        return Outcome(1)

    report = await maintain(upkeep(), [("broken", broken), ("fine", fine)], clock=lambda: 0.0)
    assert [(task.status, task.message) for task in report.tasks] == [
        (TaskStatus.FAILED, "PostgreSQL 22012: DivisionByZeroError"),
        (TaskStatus.OK, ""),
    ]
    assert report.failed


async def fill(url: str, *statements: str) -> None:
    """Run statements in a session of their own; its counts are there when it has ended."""
    con = await asyncpg.connect(url)
    try:
        for statement in statements:
            await con.execute(statement)
    finally:
        await con.close()


async def only(name: str, upkeep: Upkeep) -> Task:
    report = await maintain(upkeep, [one for one in tasks([], []) if one[0] == name], clock=lambda: 0.0)
    return report.tasks[0]


async def test_statistics_are_made_where_they_are_missing(db: PoolDb, upkeep: Open, database_url: str) -> None:
    await fill(
        database_url,
        "ALTER TABLE instances SET (autovacuum_enabled = false)",
        "INSERT INTO instances (pod, revision, role) SELECT g, 'r', 'web' FROM generate_series(1, 3000) g",
    )

    async def counted() -> bool:
        return "instances" in await analyze_due(db)

    await eventually(counted, within=30)
    assert "instances" in (await only("statistics:analyze", upkeep(dry=True))).message
    task = await only("statistics:analyze", upkeep())
    assert (task.status, "instances" in task.message) == (TaskStatus.OK, True)
    assert await db.fetchval("SELECT reltuples FROM pg_class WHERE relname = 'instances'") == 3000


async def test_dead_rows_that_autovacuum_has_left_are_told(db: PoolDb, upkeep: Open, database_url: str) -> None:
    await fill(
        database_url,
        "ALTER TABLE instances SET (autovacuum_enabled = false)",
        "INSERT INTO instances (pod, revision, role) SELECT g, 'r', 'web' FROM generate_series(1, 15000) g",
        "DELETE FROM instances WHERE pod <> '1'",
    )

    async def told() -> bool:
        return (await only("statistics:vacuum", upkeep())).status is TaskStatus.ATTENTION

    await eventually(told, within=30)
    assert (await only("statistics:vacuum", upkeep())).message.startswith("VACUUM (ANALYZE) instances: 14999 dead")


def test_dead_rows_are_looked_at_before_retention_makes_new_ones() -> None:
    names = [name for name, _ in tasks(RULES, [])]
    assert names.index("statistics:vacuum") < names.index(f"retention:{RULES[0].name}")


def test_a_long_report_is_cut_to_what_a_termination_log_takes() -> None:
    many = tuple(
        Task(name=f"integrity:check-{n}", status=TaskStatus.ATTENTION if n % 2 else TaskStatus.OK, message="x" * 400)
        for n in range(60)
    )
    brief = MaintenanceReport(tasks=many).brief()
    assert len(brief.encode()) <= REPORT_MAX_BYTES
    told = MaintenanceReport.model_validate_json(brief)
    assert told.tasks
    assert {task.status for task in told.tasks} == {TaskStatus.ATTENTION}
