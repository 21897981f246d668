"""Works staged imports: a batch of rows and its progress commit together, so a restart goes on where it stopped."""

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from ccl_service.leads import imports
from ccl_service.leads.csv_rows import FileUnreadable, Header, Record, RowError, read_header, read_row, records
from ccl_service.leads.model import LeadDraft
from ccl_service.leads.service import FirstContact, Leads
from ccl_service.platform.db import Db
from ccl_service.platform.problems import CclError, ConstraintViolated, Refused, ValueRefused
from ccl_service.platform.work import Queue, Work, WorkLoop

#: Rows per transaction: enough to share its cost, few enough not to keep a concurrent intake of one of them waiting.
BATCH_ROWS: Final = 50
ACTOR: Final = "import"


class Importer:
    """Turns the rows of a staged file into leads."""

    def __init__(
        self, db: Db, first_contact: FirstContact, *, now: Callable[[], datetime], new_id: Callable[[], UUID]
    ) -> None:
        self._db = db
        self._first_contact = first_contact
        self._now, self._new_id = now, new_id

    async def handle(self, work: Work) -> None:
        """Work one import to its end."""
        try:
            header = read_header(await imports.read_from(self._db, work.id, 0))
        except FileUnreadable as exc:
            await imports.finish(self._db, work.id, work.claim, "failed", exc.code)
            return
        position, row = max(work.row["position"], header.size), work.row["rows"] + 2
        data = await imports.read_from(self._db, work.id, position)
        while data:
            more = await imports.read_from(self._db, work.id, position + len(data))
            found = list(records(data, header.delimiter, last=not more))
            for start in range(0, len(found), BATCH_ROWS):
                batch = found[start : start + BATCH_ROWS]
                await self._store(work, header, batch, base=position, row=row)
                row += len(batch)
            if not more:
                break  # what is left are blank lines
            done = found[-1].end if found else 0
            position, data = position + done, data[done:] + more
        await imports.finish(self._db, work.id, work.claim, "done")

    async def _store(self, work: Work, header: Header, batch: list[Record], *, base: int, row: int) -> None:
        accepted = duplicates = 0
        errors: list[tuple[int, RowError]] = []
        async with self._db.transaction() as tx:
            # Each row is a savepoint inside this transaction.
            leads = Leads(tx, self._first_contact, now=self._now, new_id=self._new_id)
            for number, record in enumerate(batch, row):
                draft = read_row(header, record)
                if not isinstance(draft, LeadDraft):
                    errors += [(number, error) for error in draft]
                    continue
                try:
                    outcome = await leads.accept(draft, actor=ACTOR)
                except (Refused, ConstraintViolated, ValueRefused) as error:
                    errors += [(number, found) for found in _row_errors(error)]
                    continue
                accepted += outcome.created
                duplicates += not outcome.created
            done = imports.Batch(base + batch[-1].end, len(batch), accepted, duplicates, errors)
            await imports.write_progress(tx, work.id, work.claim, done)
        self._first_contact.committed()


def _row_errors(error: CclError) -> list[RowError]:
    """What is wrong with a row that could be read but not be taken in."""
    found = [RowError(".".join(str(part) for part in one.path), one.code) for one in error.errors]
    return found or [RowError("", "refused")]


def import_loop(
    db: Db, first_contact: FirstContact, *, now: Callable[[], datetime], new_id: Callable[[], UUID]
) -> WorkLoop:
    """The loop that works ``imports``, one at a time."""
    importer = Importer(db, first_contact, now=now, new_id=new_id)
    return WorkLoop(Queue(db, imports.IMPORTS), importer.handle, slots=1)
