"""The sealer: gives rows their places, ends each batch with a seal, and says the head aloud in the log.

One process seals at a time: the row lock on ``audit_state`` is the lease. It ends with the transaction, and a process
that freezes in the middle loses it after ten seconds.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from ccl_service.platform.audit import sql
from ccl_service.platform.audit.model import (
    GENESIS,
    PURPOSE,
    Head,
    Kind,
    Link,
    Macs,
    Row,
    Seal,
    State,
    chain,
    row_content,
    seal_content,
    seal_link,
    state_content,
)
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import CclError

BATCH_ROWS: Final = 1000
EVERY: Final = timedelta(seconds=2)
#: How long a process may stop in the middle of a batch before the server ends its session.
FROZEN_AFTER: Final = timedelta(seconds=10)
#: How long a row may wait for the key of its MAC: a rotation reaches one pod before another.
KEY_PATIENCE: Final = timedelta(minutes=10)

log = structlog.get_logger("ccl.audit")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one batch did. ``forged`` rows were sealed as such: their MAC is wrong."""

    batch: int
    head: Head
    rows: int
    forged: int
    continues: bool


class Sealer:
    """Seals what was recorded."""

    def __init__(
        self,
        db: Db,
        keys: KeyRing,
        *,
        now: Callable[[], datetime],
        batch_rows: int = BATCH_ROWS,
        frozen_after: timedelta = FROZEN_AFTER,
        on_sealed: Callable[[Sealed], None] = lambda _: None,
        fits: Fits = always,
    ) -> None:
        """``on_sealed`` is told of every batch after it was committed; ``fits`` is asked before each.

        A process that does nothing for ``frozen_after`` in the middle of a batch loses the batch and its turn.
        """
        self._db = db
        self._keys = keys
        self._now = now
        self._batch_rows = batch_rows
        milliseconds = round(frozen_after.total_seconds() * 1000)
        self._lease = f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds}"
        self._on_sealed = on_sealed
        self._gate = Gate("audit-sealer", fits)
        self._last: int | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Seal until ``stop``; a database that is away only delays it."""
        away = False
        while not stop.is_set():
            try:
                sealed = await self.seal() if await self._gate.open() else None
                away = False
            except CclError as exc:
                if not away:  # once, not at every turn
                    log.warning("audit not sealed", action="audit:seal:delayed", code=exc.code)
                away, sealed = True, None
            if sealed is None or sealed.rows < self._batch_rows:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), EVERY.total_seconds())

    async def seal(self) -> Sealed | None:
        """Seal one batch. None when there was nothing to do or another process is at it. Raises CclError."""
        macs = Macs(self._keys.derived(PURPOSE))
        async with self._db.transaction() as tx:
            await tx.execute(self._lease)
            state = await sql.lock_state(tx)
            if state is None:
                await sql.mend_state(tx)
                return None
            rows = self._ready(await sql.unsealed(tx, self._batch_rows), macs)
            # A chain whose newest seal is under an old key could not be proven once that key is gone.
            if not rows and state.mac_key in {None, macs.current}:
                return None
            sealed = await self._write(tx, state, rows, macs)
        self._last = sealed.batch
        _tell(sealed)
        self._on_sealed(sealed)
        return sealed

    def _ready(self, rows: Sequence[Row], macs: Macs) -> list[tuple[Row, bool]]:
        """Rows to seal now, each with whether its MAC is right; one whose key is not known yet waits a while."""
        found = []
        for row in rows:
            right = macs.check(Kind.ROW, row_content(row.entry), row.entry.mac_key, row.entry.mac)
            if right is None and row.entry.at > self._now() - KEY_PATIENCE:
                continue
            found.append((row, right is True))
        return found

    async def _write(self, tx: Db, state: State, rows: Sequence[tuple[Row, bool]], macs: Macs) -> Sealed:
        real = await sql.real_end(tx)
        continues = self._genuine(state, real, macs)
        batch, head = (state.batch, state.head) if continues else real
        placed = []
        for row, proven in rows:
            head = Head(head.seq + 1, chain(head.hash, row.id, row.entry, seq=head.seq + 1, proven=proven))
            placed.append((row.id, Link(head.seq, head.hash, proven)))
        await sql.place(tx, placed)
        seal = Seal(batch + 1, head, continues, self._now(), macs.current)
        last = await sql.last_seal(tx)
        before = seal_link(last) if last else GENESIS
        seal = replace(seal, mac=macs.make(Kind.SEAL, seal_content(before, seal)))
        await sql.add_seal(tx, seal, macs.make(Kind.STATE, state_content(seal.batch, head, macs.current)))
        forged = sum(not proven for _, proven in rows)
        return Sealed(seal.batch, head, len(rows), forged, seal.continues)

    def _genuine(self, state: State, real: tuple[int, Head], macs: Macs) -> bool:
        """Whether the state is what this trail left: where the tables end, not behind our own last, its MAC right."""
        if (state.batch, state.head) != real or (self._last is not None and state.batch < self._last):
            return False
        if state.mac_key is None or state.mac is None:
            return state.batch == 0
        content = state_content(state.batch, state.head, state.mac_key)
        return macs.check(Kind.STATE, content, state.mac_key, state.mac) is True


def _tell(sealed: Sealed) -> None:
    """The head goes to the log, where whoever owns the database cannot reach it."""
    fields = {"batch": sealed.batch, "rows": sealed.rows, "head": str(sealed.head)}
    if sealed.forged:
        log.error("audit rows are not genuine", action="audit:seal:forged", forged=sealed.forged, **fields)
    if not sealed.continues:
        log.error("audit chain was interrupted", action="audit:seal:interrupted", **fields)
    # at this level because production logs nothing below it
    log.warning("audit sealed", action="audit:seal:done", **fields)
