"""Runs the tasks, one after the other, in short transactions and within a time. One run at a time per database."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import asyncpg
import structlog

from ccl_contract.maintenance import MaintenanceReport, Task, TaskStatus
from ccl_service.platform.audit.model import Caller
from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import Db
from ccl_service.platform.db_errors import translated
from ccl_service.platform.maintain import statistics
from ccl_service.platform.maintain.integrity import MOST_COUNTED, Check
from ccl_service.platform.maintain.retention import Retention
from ccl_service.platform.problems import CclError

#: "ccl" and "upk" as one bigint; any other number would do as long as it never changes.
LOCK_ID: Final = 0x63636C_75706B
#: One statement may take this long; in seconds.
STATEMENT_SECONDS: Final = 30.0
CALLER: Final = Caller("system", "maintain")
PURGED: Final = "retention:purged"

log = structlog.get_logger("ccl.maintain")


@dataclass(frozen=True, slots=True)
class Upkeep:
    """What the tasks work with. ``seconds_left`` falls from the allowed time to below zero."""

    db: Db
    audit: Audit
    sealer: Sealer
    seconds_left: Callable[[], float]
    dry: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task did."""

    changed: int = 0
    status: TaskStatus = TaskStatus.OK
    message: str = ""


Run = Callable[[Upkeep], Awaitable[Outcome]]


def tasks(rules: Sequence[Retention], checks: Sequence[Check]) -> tuple[tuple[str, Run], ...]:
    """Every task by name, in the order in which they run.

    Dead rows are looked at before retention makes new ones; what was done is sealed, also that something was purged.
    """
    return (
        ("statistics:vacuum", _vacuum),
        *((f"retention:{rule.name}", partial(_purge, rule)) for rule in rules),
        ("audit:seal", _seal),
        ("statistics:analyze", _analyze),
        *((f"integrity:{check.name}", partial(_look, check)) for check in checks),
    )


async def maintain(
    upkeep: Upkeep, every: Sequence[tuple[str, Run]], *, clock: Callable[[], float]
) -> MaintenanceReport:
    """Run ``every`` task. One that fails does not keep the others from running."""
    return MaintenanceReport(
        dry_run=upkeep.dry, tasks=tuple([await _timed(name, run, upkeep, clock) for name, run in every])
    )


@contextlib.asynccontextmanager
async def alone(dsn: str) -> AsyncIterator[bool]:
    """True for the one run that has the database to itself, until the block ends or the process dies.

    The lock belongs to a session of its own: ``dsn`` leads past a pooler. Raises DatabaseUnavailable.
    """
    with translated():
        con: asyncpg.Connection[Any] = await asyncpg.connect(dsn, timeout=10)
    try:
        with translated():
            got = await con.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_ID, timeout=10)
        yield bool(got)
    finally:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await con.close(timeout=2)


async def _timed(name: str, run: Run, upkeep: Upkeep, clock: Callable[[], float]) -> Task:
    started = clock()
    try:
        outcome = await run(upkeep) if upkeep.seconds_left() > 0 else Outcome(status=TaskStatus.PARTIAL)
    except (CclError, asyncpg.PostgresError) as exc:
        outcome = Outcome(status=TaskStatus.FAILED, message=_why(exc))
    if outcome.status is TaskStatus.PARTIAL and not outcome.message:
        outcome = Outcome(outcome.changed, outcome.status, "time was over; the next run goes on")
    took_ms = round((clock() - started) * 1000)
    if outcome.status is not TaskStatus.OK:
        log.warning("look at this", action="maintain:task:told", task=name, status=outcome.status, rows=outcome.changed)
    return Task(
        name=name, status=outcome.status, changed=outcome.changed, took_ms=took_ms, message=outcome.message[:500]
    )


def _why(error: CclError | asyncpg.PostgresError) -> str:
    """A failure without values: our code, or PostgreSQL's (its messages may hold a row)."""
    cause = error if isinstance(error, asyncpg.PostgresError) else error.__cause__
    if isinstance(cause, asyncpg.PostgresError):
        return f"PostgreSQL {cause.sqlstate}: {type(cause).__name__}"
    return f"{error.code}: {error.title}" if isinstance(error, CclError) else type(error).__name__


async def _purge(rule: Retention, upkeep: Upkeep) -> Outcome:
    if upkeep.dry:
        return Outcome(
            await upkeep.db.fetchval(rule.count, timeout=STATEMENT_SECONDS), message=f"older than {rule.keep}"
        )
    changed, age = 0, None
    while upkeep.seconds_left() > 0:
        gone, age = await _purge_batch(rule, upkeep, age)
        changed += gone
        if gone < rule.batch:
            return Outcome(changed)
    return Outcome(changed, TaskStatus.PARTIAL)


async def _purge_batch(rule: Retention, upkeep: Upkeep, age: datetime | None) -> tuple[int, datetime | None]:
    """One transaction: how many rows went, and how old the youngest of them was."""
    async with upkeep.db.transaction() as tx:
        await tx.execute("SET LOCAL lock_timeout = '5s'")
        row = await tx.fetchrow(rule.purge, rule.batch, age, timeout=STATEMENT_SECONDS)
        assert row is not None
        if row["rows"] and rule.audited:
            await upkeep.audit.record(tx, CALLER, PURGED, rule.table, f"older than {rule.keep}", objects=row["rows"])
    return row["rows"], row["age"]


async def _seal(upkeep: Upkeep) -> Outcome:
    if upkeep.dry:
        return Outcome()
    changed = forged = 0
    broken = False
    while upkeep.seconds_left() > 0:
        sealed = await upkeep.sealer.seal()
        if sealed is None:
            break
        changed, forged, broken = changed + sealed.rows, forged + sealed.forged, broken or not sealed.continues
    if forged or broken:
        return Outcome(changed, TaskStatus.ATTENTION, "the trail is not genuine; run ccl-service audit verify")
    return Outcome(changed, TaskStatus.OK if upkeep.seconds_left() > 0 else TaskStatus.PARTIAL)


async def _analyze(upkeep: Upkeep) -> Outcome:
    due = await statistics.analyze_due(upkeep.db)
    for done, table in enumerate(() if upkeep.dry else due):
        if upkeep.seconds_left() <= 0:
            return Outcome(done, TaskStatus.PARTIAL)
        await statistics.analyze(upkeep.db, table, timeout=STATEMENT_SECONDS)
    return Outcome(len(due), message=", ".join(due))


async def _vacuum(upkeep: Upkeep) -> Outcome:
    hints = await statistics.vacuum_hints(upkeep.db)
    return Outcome(status=TaskStatus.ATTENTION if hints else TaskStatus.OK, message="; ".join(hints))


async def _look(check: Check, upkeep: Upkeep) -> Outcome:
    found = await upkeep.db.fetchval(check.count, timeout=STATEMENT_SECONDS)
    if not found:
        return Outcome()
    many = f"more than {MOST_COUNTED}" if found > MOST_COUNTED else str(found)
    return Outcome(status=TaskStatus.ATTENTION, message=f"{many} {check.finding}")
