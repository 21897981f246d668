"""What waits for a human in the tables of work, and the decision to try it again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from ccl_service.platform.audit.model import Caller
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import Db
from ccl_service.platform.problems import NotFound
from ccl_service.platform.work import WorkTable

RETRIED: Final = "work:retried"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that no worker takes any more. ``reason`` is a code; ``due_at`` when it would have been worked next."""

    table: str
    id: UUID
    state: str
    reason: str | None
    lane: int
    claims: int
    attempts: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Retried:
    """A row that is worked again, and the state it begins in."""

    table: str
    id: UUID
    state: str


class Quarantine:
    """Lists and retries. Every retry is one transaction with its line in the audit trail."""

    def __init__(self, db: Db, audit: Audit, tables: Sequence[WorkTable]) -> None:
        self._db, self._audit = db, audit
        self._tables: Mapping[str, WorkTable] = MappingProxyType({table.name: table for table in tables})

    @property
    def tables(self) -> Sequence[str]:
        """The tables that can be asked for."""
        return tuple(sorted(self._tables))

    async def page(
        self, *, table: str | None, after: tuple[datetime, str, UUID] | None, limit: int
    ) -> Sequence[Waiting]:
        """Rows that wait, longest first, at most ``limit`` after the cursor (due_at, table, id)."""
        tables = [one for name, one in sorted(self._tables.items()) if table in {None, name}]
        rows = await self._db.fetch(page_statement(tables), *(after or (None, None, None)), limit)
        return [Waiting(**row) for row in rows]

    async def retry(self, table: str, row_id: UUID, caller: Caller) -> Retried:
        """Give a row back to the workers. Raises NotFound when there is none that waits under this id."""
        known = self._tables.get(table)
        async with self._db.transaction() as tx:
            state = await tx.fetchval(retry_statement(known), row_id) if known else None
            if state is None:
                raise NotFound("no row that waits for a human under this table and id")
            await self._audit.record(tx, caller, RETRIED, table, row_id, changes={"state": state})
        return Retried(table, row_id, state)


def page_statement(tables: Sequence[WorkTable]) -> str:
    """Each table gives its first rows after the cursor; of those the first of all are the page."""
    parts = "\nUNION ALL ".join(
        f"""
(SELECT '{one.name}' AS "table", id, state, {one.reason} AS reason, lane, claims, attempts, due_at FROM {one.name}
  WHERE {one.waiting} AND ($1::timestamptz IS NULL OR (due_at, '{one.name}'::text, id) > ($1, $2::text, $3::uuid))
  ORDER BY due_at, id LIMIT $4)"""  # noqa: S608 - constants of the program
        for one in tables
    )
    return f"""
-- work_waiting: rows that wait for a human, longest first
SELECT * FROM ({parts}) AS waiting ORDER BY due_at, "table", id LIMIT $4"""  # noqa: S608


def retry_statement(table: WorkTable) -> str:
    """Nobody holds such a row, so that no claim has to be named."""
    return f"""
-- {table.name}_retry: work a row again that was given up
UPDATE {table.name} SET state = {table.resume}, due_at = now(), claims = 0, attempts = 0, claim_id = NULL,
    lease_until = NULL
 WHERE id = $1 AND {table.waiting} RETURNING state"""  # noqa: S608 - constants of the program
