"""Use cases of the audit trail: record a change, read what was recorded."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from ccl_service.platform.audit import sql
from ccl_service.platform.audit.model import PURPOSE, Caller, Entry, Head, Kind, Macs, Row, row_content
from ccl_service.platform.db import Db
from ccl_service.platform.keys import KeyRing

#: Rows that are read at a time while streaming.
EXPORT_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class HeadFacts:
    """The chain's end: which batch, how much is waiting, and when the last seal was made (None before the first)."""

    batch: int
    head: Head
    sealed_at: datetime | None
    key_id: str | None
    unsealed: int


class Audit:
    """Records changes. Every method that takes ``tx`` joins the caller's transaction: no effect without its row."""

    def __init__(self, keys: KeyRing, *, now: Callable[[], datetime], new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._now = now
        self._new_id = new_id

    async def record(
        self,
        tx: Db,
        caller: Caller,
        action: str,
        object_kind: str,
        object_id: object,
        *,
        changes: Mapping[str, object] | None = None,
        objects: int = 1,
    ) -> None:
        """Say that ``caller`` did ``action`` to an object.

        ``changes`` are the fields and their new values, None for one that was emptied; only names and keyed digests
        are kept. ``objects`` counts them where one call changes many (``object_id`` then names what they share).
        """
        macs = Macs(self._keys.derived(PURPOSE))
        entry = Entry(
            event=self._new_id(),
            at=self._now(),
            principal_kind=caller.kind,
            principal_id=caller.id,
            key_id=caller.key_id,
            request_id=caller.request_id,
            client=macs.digest("client", caller.client) if caller.client else None,
            action=action,
            object_kind=object_kind,
            object_id=str(object_id),
            objects=objects,
            changes={name: macs.digest(name, value) for name, value in sorted((changes or {}).items())},
            mac_key=macs.current,
        )
        await sql.add(tx, replace(entry, mac=macs.make(Kind.ROW, row_content(entry))))


async def page(db: Db, which: sql.Filter, *, before: int | None, limit: int) -> Sequence[Row]:
    """Rows that match, newest first, below the id ``before``."""
    return await sql.page(db, which, before=before, limit=limit)


async def export(
    db: Db, *, after: int = 0, since: datetime | None = None, until: datetime | None = None
) -> AsyncIterator[Sequence[Row]]:
    """Sealed rows in the order of the chain, a page at a time; no connection is held between pages.

    What is younger than the last seal comes with the next export: go on after the last ``seq``.
    """
    while rows := await sql.export_page(db, after=after, since=since, until=until, limit=EXPORT_ROWS):
        yield rows
        after = max(row.link.seq for row in rows if row.link)


async def head(db: Db) -> HeadFacts | None:
    """Where the chain ends; None when its state was removed."""
    state = await sql.get_state(db)
    if state is None:
        return None
    last = await sql.last_seal(db)
    waiting = await sql.waiting(db)
    return HeadFacts(state.batch, state.head, last.sealed_at if last else None, state.mac_key, waiting.rows)
