"""Proves the audit trail, or names the first thing that contradicts it.

What is proven: no sealed row was changed, removed, added or moved; every row was written by a holder of the keys; the
chain ends where the state says. A copy of all three tables from an earlier day contradicts only a head that was kept
elsewhere: the log line of each batch, ``GET /api/audit/head``, and whoever passes it as ``expect``.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

from ccl_service.platform.audit import sql
from ccl_service.platform.audit.model import (
    GENESIS,
    Head,
    Kind,
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

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """The first contradiction. ``seq`` and ``row_id`` say where, None where no row is meant."""

    reason: str
    seq: int | None = None
    row_id: int | None = None
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """``head`` is the chain's end as computed. ``unproven`` is the newest seal's key when it is not held."""

    head: Head
    rows: int
    batches: int
    unsealed: int
    fault: Fault | None = None
    unproven: str | None = None


class Broken(Exception):
    """Carries the first fault out of the walk."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


@dataclass(slots=True)
class _Walk:
    """How far the walk has come."""

    head: Head
    rows: int = 0
    batches: int = 0
    last: Seal | None = None
    expect: Head | None = None
    unheld: set[str] = field(default_factory=set)


async def verify(db: Db, macs: Macs, *, expect: Head | None = None, from_batch: int = 0) -> Verdict:
    """Walk the whole chain, or only what follows the seal ``from_batch``, which is then believed.

    ``expect`` is a head that was kept elsewhere: the chain must contain it. Raises DatabaseUnavailable.
    """
    async with db.transaction() as tx:
        # one snapshot, so that a sealer at work is not taken for a forger
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        unsealed = (await sql.waiting(tx)).rows
        walk = _Walk(Head(0, GENESIS), expect=expect)
        try:
            await _start(tx, walk, from_batch)
            await _follow(tx, walk, macs, from_batch)
            _end(walk, await sql.get_state(tx), macs)
        except Broken as exc:
            return Verdict(walk.head, walk.rows, walk.batches, unsealed, fault=exc.fault)
    key = walk.last.mac_key if walk.last else None
    return Verdict(walk.head, walk.rows, walk.batches, unsealed, unproven=key if key in walk.unheld else None)


async def _start(tx: Db, walk: _Walk, from_batch: int) -> None:
    if from_batch == 0:
        return
    found = await sql.seals(tx, after=from_batch - 1, limit=1)
    if not found or found[0].batch != from_batch:
        raise Broken(Fault(f"there is no seal {from_batch}", batch=from_batch))
    walk.last, walk.head = found[0], found[0].head


async def _follow(tx: Db, walk: _Walk, macs: Macs, from_batch: int) -> None:
    """Rows and seals side by side: each seal must sit on the hash of its last row."""
    rows = _rows(tx, walk.head.seq)
    _meet(walk)
    async for seal in _seals(tx, from_batch):
        _check_seal(walk, seal, macs)
        while walk.head.seq < seal.head.seq:
            row = await anext(rows, None)
            if row is None:
                missing = walk.head.seq + 1
                raise Broken(Fault("the row is missing, and so is all that followed", seq=missing, batch=seal.batch))
            _check_row(walk, row, macs)
            _meet(walk)
        if seal.head != walk.head:
            raise Broken(Fault("the seal is not that of the rows before it", seq=walk.head.seq, batch=seal.batch))
        walk.batches, walk.last = walk.batches + 1, seal
    extra = await anext(rows, None)
    if extra is not None and extra.link is not None:
        raise Broken(Fault("the row has a place but no seal", seq=extra.link.seq, row_id=extra.id))


def _check_seal(walk: _Walk, seal: Seal, macs: Macs) -> None:
    expected = walk.last.batch + 1 if walk.last else 1
    if seal.batch != expected:
        raise Broken(Fault("the seal is missing", batch=expected))
    if seal.head.seq < walk.head.seq:
        raise Broken(Fault("the seal goes back behind the one before", batch=seal.batch))
    before = seal_link(walk.last) if walk.last else GENESIS
    right = macs.check(Kind.SEAL, seal_content(before, seal), seal.mac_key, seal.mac)
    if right is False:
        raise Broken(Fault("the seal's MAC is wrong, or the seal before it was changed", batch=seal.batch))
    if right is None:
        walk.unheld.add(seal.mac_key)
    if not seal.continues:
        raise Broken(Fault("the state before this batch was not the one that the trail had left", batch=seal.batch))


def _check_row(walk: _Walk, row: Row, macs: Macs) -> None:
    link, seq = row.link, walk.head.seq + 1
    assert link is not None
    if link.seq != seq:
        raise Broken(Fault("the row is missing", seq=seq))
    if not link.proven:
        raise Broken(Fault("the row was not written by a holder of the keys", seq=seq, row_id=row.id))
    computed = chain(walk.head.hash, row.id, row.entry, seq=seq, proven=link.proven)
    if computed != link.hash:
        raise Broken(Fault("the row was changed or moved", seq=seq, row_id=row.id))
    if macs.check(Kind.ROW, row_content(row.entry), row.entry.mac_key, row.entry.mac) is False:
        raise Broken(Fault("the row's MAC is wrong", seq=seq, row_id=row.id))
    walk.head = Head(seq, computed)
    walk.rows += 1


def _meet(walk: _Walk) -> None:
    """Compare with the head that was kept elsewhere when the walk comes past it."""
    if walk.expect is not None and walk.head.seq == walk.expect.seq:
        if not walk.expect.meets(walk.head):
            raise Broken(Fault("the chain is not the one of the expected head", seq=walk.head.seq))
        walk.expect = None


def _end(walk: _Walk, state: State | None, macs: Macs) -> None:
    if walk.expect is not None and walk.expect.seq > walk.head.seq:
        raise Broken(Fault("the tail is missing: the chain ends before the expected head", seq=walk.head.seq + 1))
    if walk.expect is not None:
        raise Broken(Fault("the expected head lies before the part that was walked", seq=walk.expect.seq))
    if state is None:
        raise Broken(Fault("the record of where the chain ends was removed"))
    batch = walk.last.batch if walk.last else 0
    if (state.batch, state.head) != (batch, walk.head):
        raise Broken(Fault("the tail is missing: the chain does not end where it did", seq=walk.head.seq + 1))
    if walk.last and (state.mac_key != walk.last.mac_key or not _genuine(state, macs)):
        raise Broken(Fault("the record of where the chain ends is not genuine", seq=walk.head.seq))


def _genuine(state: State, macs: Macs) -> bool:
    """False for a wrong MAC or none. One whose key is not held is the newest seal's matter."""
    if state.mac_key is None or state.mac is None:
        return False
    content = state_content(state.batch, state.head, state.mac_key)
    return macs.check(Kind.STATE, content, state.mac_key, state.mac) is not False


async def _rows(tx: Db, after: int) -> AsyncIterator[Row]:
    while found := await sql.sealed_rows(tx, after=after, limit=PAGE):
        for row in found:
            yield row
        last = found[-1].link
        assert last is not None
        after = last.seq


async def _seals(tx: Db, after: int) -> AsyncIterator[Seal]:
    while found := await sql.seals(tx, after=after, limit=PAGE):
        for seal in found:
            yield seal
        after = found[-1].batch
