"""Applies migrations.

Safe to run from several places at once: one runs at a time, chosen by an advisory lock on a session of its own that
is polled without an open snapshot (a blocked waiter would deadlock CREATE INDEX CONCURRENTLY).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from importlib.resources import files
from typing import Any, Final

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from ccl_contract.schema import Database, MigrationKind, MigrationReport, Pending
from ccl_service.migrations import OWN_EPOCH
from ccl_service.platform.db_errors import translate
from ccl_service.platform.problems import DatabaseUnavailable

#: "ccl" and "mig" as one bigint; any other number would do as long as it never changes.
LOCK_ID: Final = 0x63636C_6D6967
LOCK_POLL_SECONDS: Final = 0.25


def alembic_config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(files("ccl_service") / "migrations"))
    config.set_main_option("path_separator", "os")
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def revisions() -> list[Script]:
    """All revisions, oldest first."""
    script = ScriptDirectory.from_config(alembic_config())
    return list(script.walk_revisions("base", "heads"))[::-1]


async def migrate(
    dsn: str,
    *,
    plan: bool = False,
    contract: bool = False,
    answer_within: timedelta,
    lock_within: timedelta,
    on_answer: Callable[[], None] = lambda: None,
) -> MigrationReport:
    """Apply pending Expands (with ``contract`` also Contracts; with ``plan`` nothing) and report.

    ``on_answer`` is called once the database has answered, before anything is changed.
    A database that is newer than this version is left alone. Raises DatabaseUnavailable when the database does not
    answer within ``answer_within`` or another migration holds the lock longer than ``lock_within``.
    """
    async with _session(dsn, answer_within) as con:
        on_answer()
        if plan:
            return await _with_alembic(dsn, con, lambda c: _pending(c)[1])
        async with _locked(con, lock_within):
            return await _with_alembic(dsn, con, lambda c: _apply(c, contract=contract))


def _apply(connection: Connection, *, contract: bool) -> tuple[Pending, ...]:
    known, pending = _pending(connection)
    connection.rollback()
    wanted = [p for p in pending if contract or p.kind is MigrationKind.EXPAND]
    if known and wanted:
        command.upgrade(alembic_config(connection), "heads" if contract else "expand@head")
        _, pending = _pending(connection)
        connection.rollback()
    return pending


def _pending(connection: Connection) -> tuple[bool, tuple[Pending, ...]]:
    """Whether this version knows every revision the database has, and what is not applied yet."""
    script = ScriptDirectory.from_config(alembic_config())
    every = revisions()
    heads = MigrationContext.configure(connection).get_current_heads()
    if any(head not in {r.revision for r in every} for head in heads):
        return False, ()
    done = {r.revision for head in heads for r in script.walk_revisions("base", head)}
    return True, tuple(Pending(id=_name(r), kind=r.module.KIND) for r in every if r.revision not in done)


def _name(script: Script) -> str:
    return script.path.rsplit("/", 1)[-1].removesuffix(".py")


async def _with_alembic(
    dsn: str, con: "asyncpg.Connection[Any]", act: Callable[[Connection], tuple[Pending, ...]]
) -> MigrationReport:
    async def connect() -> "asyncpg.Connection[Any]":
        return await asyncpg.connect(dsn, timeout=10)

    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            pending = await connection.run_sync(act)
    finally:
        await engine.dispose()
    return await _report(con, pending)


async def _report(con: "asyncpg.Connection[Any]", pending: tuple[Pending, ...]) -> MigrationReport:
    exists = await con.fetchval("SELECT to_regclass('schema_state') IS NOT NULL")
    epochs = await con.fetchrow("SELECT epoch, min_compatible FROM schema_state") if exists else None
    server = await con.fetchrow(
        "SELECT current_setting('server_version_num')::int AS version_num,"
        " current_setting('max_connections')::int AS max_connections"
    )
    assert server is not None
    return MigrationReport(
        own=OWN_EPOCH,
        epoch=epochs["epoch"] if epochs else 0,
        min_compatible=epochs["min_compatible"] if epochs else 0,
        pending=pending[:50],
        database=Database(version_num=server["version_num"], max_connections=server["max_connections"]),
    )


@contextlib.asynccontextmanager
async def _session(dsn: str, answer_within: timedelta) -> AsyncIterator["asyncpg.Connection[Any]"]:
    con = await _until(answer_within, lambda: _try_connect(dsn), "the database does not answer", pause=0.5)
    try:
        yield con
    finally:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError):
            await con.close(timeout=2)


async def _try_connect(dsn: str) -> "asyncpg.Connection[Any] | None":
    try:
        return await asyncpg.connect(dsn, timeout=5)
    except (asyncpg.PostgresError, OSError, TimeoutError) as exc:
        if isinstance(exc, asyncpg.InvalidAuthorizationSpecificationError | asyncpg.InvalidCatalogNameError):
            raise DatabaseUnavailable("the database refuses the credentials or does not exist") from exc
        if translate(exc) is None:
            raise
        return None


@contextlib.asynccontextmanager
async def _locked(con: "asyncpg.Connection[Any]", within: timedelta) -> AsyncIterator[None]:
    async def attempt() -> bool | None:
        return await con.fetchval("SELECT pg_try_advisory_lock($1)", LOCK_ID) or None

    await _until(within, attempt, "another migration holds the lock", pause=LOCK_POLL_SECONDS)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await con.execute(f"SELECT pg_advisory_unlock({LOCK_ID})")


async def _until(within: timedelta, attempt: Callable[[], Awaitable[Any]], why: str, *, pause: float) -> Any:
    """Repeat ``attempt`` until it gives something. Raises DatabaseUnavailable(why) after ``within``."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + within.total_seconds()
    while (result := await attempt()) is None:
        if clock() >= deadline:
            raise DatabaseUnavailable(why)
        await asyncio.sleep(pause)
    return result
