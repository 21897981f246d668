"""One REPEATABLE READ session whose snapshot both the row counts and ``pg_dump`` see."""

from dataclasses import dataclass
from typing import Final, Self

import asyncpg

from ccl_contract.audit import head_text
from ccl_contract.backup import Table
from ccl_operator.backup.failure import StepFailed, first_line
from ccl_operator.backup.server import Server

_CONNECT_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 5.0

#: A server's defaults must not end a session that waits for a long dump, nor hide rows from the counts.
_SETTINGS: Final = {
    "application_name": "ccl-backup",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "60s",
    "row_security": "off",
    "statement_timeout": "0",
}

SNAPSHOT_EXPORT: Final = """
-- snapshot_export: export this transaction's snapshot, with the log position it stands at
SELECT pg_export_snapshot() AS name,
       current_setting('server_version_num')::int AS version,
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS lsn"""

TABLES: Final = r"""
-- tables: every table whose rows a dump holds; partitions one by one, none that an extension brings
SELECT n.nspname || '.' || c.relname AS name, format('%I.%I', n.nspname, c.relname) AS identifier
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind = 'r' AND c.relpersistence <> 't'
   AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
 ORDER BY (n.nspname || '.' || c.relname) COLLATE pg_catalog."C" """

AUDIT_STATE: Final = """
-- audit_state: where the audit chain ends
SELECT last_seq, head FROM audit_state"""

_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)


@dataclass(frozen=True)
class SnapshotSession:
    """An open transaction. ``name`` is what ``pg_dump --snapshot`` takes, ``lsn`` where the snapshot stands."""

    name: str
    lsn: str
    server_version_num: int
    _connection: "asyncpg.Connection[asyncpg.Record]"

    @classmethod
    async def open(cls, server: Server) -> Self:
        """Connect and export a snapshot. Raises StepFailed."""
        try:
            connection = await asyncpg.connect(
                server.asyncpg_url,
                password=server.password,
                timeout=_CONNECT_SECONDS,
                server_settings=_SETTINGS,
            )
        except (*_ERRORS, ValueError) as exc:
            # asyncpg quotes the URL's parts in a ValueError, a password's remains among them.
            what = "the database URL cannot be used" if isinstance(exc, ValueError) else first_line(exc)
            raise StepFailed(server.redact(f"cannot connect to the database: {what}")) from None
        try:
            await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = await connection.fetchrow(SNAPSHOT_EXPORT)
        except _ERRORS as exc:
            connection.terminate()
            raise StepFailed(f"cannot export a snapshot: {first_line(exc)}") from exc
        assert row is not None
        return cls(row["name"], row["lsn"], row["version"], connection)

    async def count_tables(self) -> tuple[Table, ...]:
        """Every table of the snapshot with its rows, ordered by name.

        Counting takes the lock that ``pg_dump`` needs (ACCESS SHARE), so that no counted table is dropped or
        truncated before it is dumped. Raises StepFailed.
        """
        try:
            return await table_counts(self._connection)
        except _ERRORS as exc:
            raise StepFailed(f"cannot count the rows: {first_line(exc)}") from exc

    async def audit_head(self) -> str | None:
        """Where the service's audit chain ends in the snapshot; None in a database without one. Raises StepFailed."""
        try:
            if await self._connection.fetchval("SELECT to_regclass('audit_state')") is None:
                return None
            row = await self._connection.fetchrow(AUDIT_STATE)
        except _ERRORS as exc:
            raise StepFailed(f"cannot read the end of the audit chain: {first_line(exc)}") from exc
        return head_text(row["last_seq"], row["head"]) if row else None

    async def close(self) -> None:
        """End the session; never raises for a connection that is already gone."""
        try:
            await self._connection.close(timeout=_CLOSE_SECONDS)
        except _ERRORS:
            self._connection.terminate()


async def table_counts(connection: "asyncpg.Connection[asyncpg.Record]") -> tuple[Table, ...]:
    """The tables a dump of this database holds, with their rows, ordered by name."""
    found = await connection.fetch(TABLES)
    # ONLY: the rows of inheritance children are counted with the child.
    counts = [
        await connection.fetchval(f"SELECT count(*) FROM ONLY {row['identifier']}")  # noqa: S608 - quoted by %I
        for row in found
    ]
    return tuple(Table(name=row["name"], rows=rows) for row, rows in zip(found, counts, strict=True))
