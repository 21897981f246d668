"""A table of work for tests, and what happens to its rows."""

from typing import Any
from uuid import UUID, uuid4

from ccl_service.platform.work import Work, WorkTable

ERRANDS = WorkTable("errands", claimable=("queued",), columns=("note",))


async def add(db: Any, *, lane: int = 0, note: str = "") -> UUID:
    """A new errand, due at once."""
    errand = uuid4()
    sql = "INSERT INTO errands (id, state, lane, note) VALUES ($1, 'queued', $2, $3)"
    await db.execute(sql, errand, lane, note)
    return errand


async def row(db: Any) -> Any:
    """The only errand, with the time until it is due."""
    return await db.fetchrow("SELECT *, due_at - now() AS wait FROM errands")


async def done(db: Any, work: Work) -> bool:
    """Finish it; False when the claim was lost."""
    sql = "UPDATE errands SET state = 'done', claim_id = NULL, lease_until = NULL WHERE id = $1 AND claim_id = $2"
    return bool(await db.execute(sql, work.id, work.claim))
