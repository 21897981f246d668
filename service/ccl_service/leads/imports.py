"""CSV imports: stage a file, follow it, read its errors; and the statements behind that.

The file is staged in the database in pieces, because the process that takes it in is not the one that works it.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from ccl_service.leads.csv_rows import RowError
from ccl_service.platform.db import Db
from ccl_service.platform.problems import CclError, NotFound, TooLarge, TryLater
from ccl_service.platform.work import WorkTable

IMPORTS: Final = WorkTable("imports", claimable=("queued",), columns=("position", "rows"), reason="reason")
CHUNK_BYTES: Final = 256 * 1024
#: An import's own body limit: about half a million rows.
MOST_BYTES: Final = 100 * 1024 * 1024

#: Says in the audit trail that an object was made, and of what; joins the transaction that makes it.
Record = Callable[[Db, UUID, Mapping[str, object]], Awaitable[None]]

IMPORT_NEW: Final = """
-- import_new: an import that is being received
INSERT INTO imports (id, state) VALUES ($1, 'receiving')"""

IMPORT_CHUNK: Final = """
-- import_chunk: one piece of the file; due_at tells retention when the newest came
WITH receiving AS (UPDATE imports SET due_at = now() WHERE id = $1 AND state = 'receiving' RETURNING id)
INSERT INTO import_chunks (import_id, position, body) SELECT id, $2, $3 FROM receiving"""

IMPORT_QUEUE: Final = """
-- import_queue: all of it is there
UPDATE imports SET state = 'queued', due_at = now() WHERE id = $1 AND state = 'receiving'"""

IMPORT_FORGET: Final = """
-- import_forget: a file that did not arrive whole; one whose process died is left to retention
DELETE FROM imports WHERE id = $1 AND state = 'receiving'"""

IMPORT_GET: Final = """
-- import_get: how far an import is
SELECT id, CASE WHEN state = 'queued' AND (rows > 0 OR claim_id IS NOT NULL) THEN 'running' ELSE state END AS state,
       rows, accepted, duplicates, rejected, reason
  FROM imports WHERE id = $1"""

IMPORT_READ: Final = """
-- import_read: the piece of the file that holds the byte at $2
SELECT position, body FROM import_chunks
 WHERE import_id = $1 AND position <= $2 ORDER BY position DESC LIMIT 1"""

IMPORT_PROGRESS: Final = """
-- import_progress: the rows up to a position are in; commits with them
UPDATE imports SET position = $3, rows = rows + $4, accepted = accepted + $5, duplicates = duplicates + $6,
    rejected = rejected + $7, claims = 1
 WHERE id = $1 AND claim_id = $2 RETURNING id"""

IMPORT_FINISH: Final = """
-- import_finish: over, well or not; the staged file goes
WITH finished AS (
    UPDATE imports SET state = $3, reason = $4, finished_at = now(), claims = 0, claim_id = NULL, lease_until = NULL
     WHERE id = $1 AND claim_id = $2 RETURNING id)
DELETE FROM import_chunks USING finished WHERE import_id = finished.id"""

IMPORT_ERROR_ADD: Final = """
-- import_error_add: what is wrong with a row
INSERT INTO import_errors (import_id, row, field, code) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"""

IMPORT_ERRORS: Final = """
-- import_errors: in row order, after the cursor
SELECT row, field, code FROM import_errors
 WHERE import_id = $1 AND (row, field, code) > ($2, $3, $4) ORDER BY row, field, code LIMIT $5"""


class ImportGone(TryLater):
    """The import was deleted while its file was on its way, which a sender that pauses for a day can bring about."""


class ClaimLost(CclError):
    """Another worker has the import now; what this one did not commit is not done."""


@dataclass(frozen=True)
class Batch:
    """What became of some rows: counts, and the errors with their row numbers (the header is row 1)."""

    position: int
    rows: int
    accepted: int
    duplicates: int
    errors: Sequence[tuple[int, RowError]]

    @property
    def rejected(self) -> int:
        """Rows that did not become a lead."""
        return self.rows - self.accepted - self.duplicates


class Imports:
    """Stages imports and tells about them."""

    def __init__(self, db: Db, *, new_id: Callable[[], UUID], wake: Callable[[], None]) -> None:
        self._db = db
        self._new_id = new_id
        self._wake = wake

    async def stage(
        self, body: AsyncIterator[bytes], *, most_bytes: int = MOST_BYTES, record: Record | None = None
    ) -> UUID:
        """Store a file piece by piece and queue it; its id. Raises TooLarge and ImportGone, and then nothing stays.

        ``record`` joins the transaction that queues it.
        """
        import_id = self._new_id()
        await self._db.execute(IMPORT_NEW, import_id)
        try:
            facts = await self._receive(import_id, body, most_bytes)
        except BaseException:
            # Also when the caller hangs up: half a file is no import.
            await self._db.execute(IMPORT_FORGET, import_id)
            raise
        async with self._db.transaction() as tx:
            await _touch(tx, IMPORT_QUEUE, import_id)
            if record:
                await record(tx, import_id, facts)
        self._wake()
        return import_id

    async def _receive(self, import_id: UUID, body: AsyncIterator[bytes], most_bytes: int) -> Mapping[str, object]:
        """By what the file can be recognised."""
        position, pending, digest = 0, bytearray(), sha256()
        async for piece in body:
            pending += piece
            digest.update(piece)
            if position + len(pending) > most_bytes:
                raise TooLarge(f"an import takes at most {most_bytes} bytes")
            if len(pending) >= CHUNK_BYTES:
                await _touch(self._db, IMPORT_CHUNK, import_id, position, bytes(pending))
                position += len(pending)
                pending.clear()
        if pending:
            await _touch(self._db, IMPORT_CHUNK, import_id, position, bytes(pending))
        return {"sha256": digest.hexdigest(), "bytes": position + len(pending)}

    async def get(self, import_id: UUID) -> dict[str, Any]:
        """State and counts. Raises NotFound."""
        row = await self._db.fetchrow(IMPORT_GET, import_id)
        if row is None:
            raise NotFound("no import with this id")
        return dict(row)

    async def errors(self, import_id: UUID, *, after: tuple[int, str, str], limit: int) -> list[dict[str, Any]]:
        """Errors after the cursor (row, field, code), in that order. Raises NotFound."""
        await self.get(import_id)
        return [dict(row) for row in await self._db.fetch(IMPORT_ERRORS, import_id, *after, limit)]


async def _touch(db: Db, statement: str, import_id: UUID, *args: object) -> None:
    """Run a statement that finds an import as long as it is being received. Raises ImportGone."""
    if not await db.execute(statement, import_id, *args):
        raise ImportGone("the import was given up before its file was there; send it again")


async def read_from(db: Db, import_id: UUID, position: int) -> bytes:
    """Bytes of the staged file from ``position`` to the end of their piece; empty at the end of the file."""
    row = await db.fetchrow(IMPORT_READ, import_id, position)
    return bytes(row["body"][position - row["position"] :]) if row else b""


async def write_progress(tx: Db, import_id: UUID, claim: UUID, batch: Batch) -> None:
    """Record a batch in the transaction that made its leads. Raises ClaimLost."""
    counts = (batch.position, batch.rows, batch.accepted, batch.duplicates, batch.rejected)
    if await tx.fetchval(IMPORT_PROGRESS, import_id, claim, *counts) is None:
        raise ClaimLost
    await tx.executemany(IMPORT_ERROR_ADD, [(import_id, row, one.field, one.code) for row, one in batch.errors])


async def finish(db: Db, import_id: UUID, claim: UUID, state: str, reason: str | None = None) -> None:
    """End the import and delete the staged file; nothing when the claim is lost."""
    await db.execute(IMPORT_FINISH, import_id, claim, state, reason, timeout=30)
