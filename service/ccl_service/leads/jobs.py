"""Works staged imports: a batch of rows and its progress commit together, so a restart goes on where it stopped."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from ccl_service.leads import imports
from ccl_service.leads.bulk import BulkIntake
from ccl_service.leads.csv_rows import (
    MOST_RECORD_BYTES,
    FileUnreadable,
    Header,
    RowError,
    read_header,
    read_row,
    records,
)
from ccl_service.leads.model import LeadDraft, Source
from ccl_service.leads.service import FirstContact
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, always
from ccl_service.platform.problems import CclError
from ccl_service.platform.telemetry import Count, uncounted
from ccl_service.platform.work import Queue, Work, WorkLoop

#: Rows per transaction: enough to share its cost, few enough not to keep a concurrent intake of one of them waiting.
BATCH_ROWS: Final = 500
#: Rows read at a stretch before others in this process get their turn, the answers of the database among them.
STRETCH_ROWS: Final = 20
ACTOR: Final = "import"


@dataclass(frozen=True)
class Read:
    """Rows as they were read, the first under number ``row`` (the header is 1). ``end`` is their end in the file."""

    row: int
    rows: Sequence[LeadDraft | Sequence[RowError]]
    end: int


class Importer:
    """Turns the rows of a staged file into leads."""

    def __init__(
        self,
        db: Db,
        first_contact: FirstContact,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        count: Count = uncounted,
    ) -> None:
        self._db = db
        self._first_contact = first_contact
        self._now, self._new_id = now, new_id
        self._count = count

    async def handle(self, work: Work) -> None:
        """Work one import to its end."""
        try:
            header = read_header(await imports.read_from(self._db, work.id, 0))
        except FileUnreadable as exc:
            await imports.finish(self._db, work.id, work.claim, "failed", exc.code)
            return
        async with contextlib.aclosing(self._batches(work, header)) as batches:
            await self._store_all(work, batches)
        await imports.finish(self._db, work.id, work.claim, "done")

    async def _store_all(self, work: Work, batches: AsyncGenerator[Read]) -> None:
        """Store batch after batch; while the database is busy with one, the next is read."""

        async def following() -> Read | None:
            return await anext(batches, None)

        batch = await following()
        while batch:
            reading = asyncio.create_task(following())
            try:
                await self._store(work, batch)
                batch = await reading
            finally:
                reading.cancel()
                await asyncio.wait((reading,))

    async def _batches(self, work: Work, header: Header) -> AsyncGenerator[Read]:
        """The rows that are not in yet."""
        position, row = max(work.row["position"], header.size), work.row["rows"] + 2
        data = await imports.read_from(self._db, work.id, position)
        while data:
            more = await imports.read_from(self._db, work.id, position + len(data))
            rows: list[LeadDraft | Sequence[RowError]] = []
            done = 0
            for record in records(data, header.delimiter, last=not more):
                rows.append(read_row(header, record))
                done = record.end
                if len(rows) % STRETCH_ROWS == 0:
                    await asyncio.sleep(0)
                if len(rows) == BATCH_ROWS:
                    yield Read(row, rows, position + done)
                    row, rows = row + len(rows), []
            if rows:
                yield Read(row, rows, position + done)
                row += len(rows)
            if not more:
                return  # what is left are blank lines
            if not done and len(data) > MOST_RECORD_BYTES:
                done = data.rfind(b"\n") + 1  # blank lines, or a record would have been found
            position, data = position + done, data[done:] + more

    async def _store(self, work: Work, batch: Read) -> None:
        numbered = list(enumerate(batch.rows, batch.row))
        people = [(number, one) for number, one in numbered if isinstance(one, LeadDraft)]
        errors = [(number, error) for number, one in numbered if not isinstance(one, LeadDraft) for error in one]
        async with self._db.transaction() as tx:
            intake = BulkIntake(tx, self._first_contact, now=self._now, new_id=self._new_id)
            drafts = [draft for _, draft in people]
            outcomes = await intake.accept(drafts, actor=ACTOR, origin={"import": str(work.id)})
            for (number, _), outcome in zip(people, outcomes, strict=True):
                if isinstance(outcome, CclError):
                    errors += [(number, error) for error in _row_errors(outcome)]
            accepted, duplicates = outcomes.count(True), outcomes.count(False)
            done = imports.Batch(batch.end, len(numbered), accepted, duplicates, errors)
            await imports.write_progress(tx, work.id, work.claim, done)
        self._first_contact.committed(intake.begun)
        self._tell(done)

    def _tell(self, done: imports.Batch) -> None:
        self._count("ccl_leads_created", Source.UPLOAD, by=done.accepted)
        outcomes = (("accepted", done.accepted), ("duplicate", done.duplicates), ("rejected", done.rejected))
        for outcome, rows in outcomes:
            self._count("ccl_import_rows", outcome, by=rows)


def _row_errors(error: CclError) -> list[RowError]:
    """What is wrong with a row that could be read but not be taken in."""
    found = [RowError(".".join(str(part) for part in one.path), one.code) for one in error.errors]
    return found or [RowError("", "refused")]


def import_loop(
    db: Db,
    first_contact: FirstContact,
    *,
    now: Callable[[], datetime],
    new_id: Callable[[], UUID],
    count: Count = uncounted,
    fits: Fits = always,
) -> WorkLoop:
    """The loop that works ``imports``, one at a time."""
    importer = Importer(db, first_contact, now=now, new_id=new_id, count=count)
    return WorkLoop(Queue(db, imports.IMPORTS, count), importer.handle, slots=1, fits=fits)
