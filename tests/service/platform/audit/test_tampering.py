"""Somebody who owns the database, but no key, changes the trail; ``verify`` names the first contradiction."""

import asyncio
import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.platform.audit.model import GENESIS, PURPOSE, Head, Macs, chain
from ccl_service.platform.audit.sealer import Sealed, Sealer
from ccl_service.platform.audit.sql import sealed_rows
from ccl_service.platform.audit.verify import Verdict, verify
from ccl_service.platform.db import PoolDb
from ccl_service.platform.keys import KeyName, KeyRing, KeySource
from ccl_service.platform.problems import CclError
from tests.service.platform.audit.conftest import ADMIN, SECRET, Record, Seal, now, ring

Owner = Any


@pytest.fixture
async def trail(record: Record, seal_all: Seal) -> None:
    """Eight rows in three batches."""
    await record(8)
    await seal_all()


def fault(verdict: Verdict) -> tuple[str, int | None]:
    assert verdict.fault is not None
    return verdict.fault.reason, verdict.fault.seq


@pytest.mark.usefixtures("trail")
async def test_an_untouched_trail_is_proven(db: PoolDb, macs: Macs) -> None:
    verdict = await verify(db, macs)
    assert (verdict.fault, verdict.unproven) == (None, None)
    assert (verdict.rows, verdict.batches, verdict.unsealed, verdict.head.seq) == (8, 3, 0, 8)


async def test_an_empty_trail_is_proven(db: PoolDb, macs: Macs) -> None:
    verdict = await verify(db, macs)
    assert (verdict.fault, verdict.head) == (None, Head(0, GENESIS))


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE audit_log SET action = 'other' WHERE seq = 4", ("changed or moved", 4)),
        ("UPDATE audit_log SET changes = '{}' WHERE seq = 1", ("changed or moved", 1)),
        ("UPDATE audit_log SET proven = false WHERE seq = 5", ("holder of the keys", 5)),
        ("DELETE FROM audit_log WHERE seq = 4", ("row is missing", 4)),
        ("DELETE FROM audit_log WHERE seq = 8", ("row is missing", 8)),
        (
            "UPDATE audit_log SET seq = CASE seq WHEN 4 THEN -5 WHEN 5 THEN -4 END WHERE seq IN (4, 5);"
            "UPDATE audit_log SET seq = -seq WHERE seq < 0",
            ("changed or moved", 4),
        ),
        ("DELETE FROM audit_seals WHERE batch = 2", ("seal is missing", None)),
        ("DELETE FROM audit_seals WHERE batch = 3", ("has a place but no seal", 7)),
        ("UPDATE audit_seals SET sealed_at = now() WHERE batch = 1", ("seal's MAC is wrong", None)),
        ("UPDATE audit_seals SET mac_key = 'another' WHERE batch = 2", ("seal before it was changed", None)),
        ("DELETE FROM audit_log WHERE seq > 6; DELETE FROM audit_seals WHERE batch = 3", ("tail is missing", 7)),
        ("DELETE FROM audit_log; DELETE FROM audit_seals", ("tail is missing", 1)),
        ("DELETE FROM audit_state", ("ends was removed", None)),
        (
            "DELETE FROM audit_log WHERE seq > 6; DELETE FROM audit_seals WHERE batch = 3;"
            "UPDATE audit_state SET (batch, last_seq, head, mac_key, mac) ="
            " (SELECT batch, last_seq, head, mac_key, mac FROM audit_seals WHERE batch = 2)",
            ("ends is not genuine", 6),
        ),
    ],
    ids=[
        "changed",
        "emptied",
        "called unproven",
        "removed",
        "last removed",
        "swapped",
        "seal removed",
        "last seal removed",
        "seal changed",
        "seal said to be under a key that nobody has",
        "tail cut",
        "everything cut",
        "end removed",
        "tail cut and an old seal put as the end",
    ],
)
async def test_tampering_is_found_where_it_happened(
    db: PoolDb, macs: Macs, owner: Owner, statement: str, found: tuple[str, int | None]
) -> None:
    await owner.execute(statement)
    told, where = fault(await verify(db, macs))
    assert found[0] in told
    assert found[1] == where


#: How to change a value of a type into another one.
CHANGED = {
    "text": "COALESCE({0}, '') || 'x'",
    "bytea": "COALESCE({0}, '') || '\\x00'",
    "bigint": "{0} + 1000",
    "boolean": "NOT {0}",
    "timestamp with time zone": "{0} + interval '1 microsecond'",
    "uuid": "gen_random_uuid()",
    "jsonb": """'{{"state": "00"}}'""",
}


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("table", "where"),
    [("audit_log", "seq = 5"), ("audit_log", "seq = 8"), ("audit_seals", "batch = 2"), ("audit_state", "true")],
)
async def test_no_column_can_be_changed_without_being_found(
    db: PoolDb, macs: Macs, owner: Owner, table: str, where: str
) -> None:
    columns = await db.fetch(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = $1", table
    )
    unnoticed = []
    for name, kind in columns:
        if name == "only_row":
            continue
        await owner.execute(f"CREATE TABLE kept AS SELECT * FROM {table}")
        await owner.execute(f"ALTER TABLE {table} ALTER COLUMN {name} DROP IDENTITY IF EXISTS")
        await owner.execute(f"UPDATE {table} SET {name} = {CHANGED[kind].format(name)} WHERE {where}")
        verdict = await verify(db, macs)
        if verdict.fault is None and verdict.unproven is None:
            unnoticed.append(name)
        await owner.execute(f"DELETE FROM {table}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept")
        assert (await verify(db, macs)).fault is None
    assert unnoticed == []


@pytest.mark.usefixtures("trail")
async def test_a_row_pushed_into_the_middle_is_found_even_with_all_hashes_made_anew(
    db: PoolDb, macs: Macs, owner: Owner
) -> None:
    await owner.execute(
        "UPDATE audit_log SET seq = -(seq + 1) WHERE seq > 3; UPDATE audit_log SET seq = -seq WHERE seq < 0"
    )
    columns = "at, principal_kind, principal_id, action, object_kind, object_id, mac_key, mac"
    await owner.execute(
        f"INSERT INTO audit_log (event, seq, hash, proven, {columns})"
        f" SELECT gen_random_uuid(), 4, hash, true, {columns} FROM audit_log WHERE seq = 3"
    )
    before = GENESIS
    for row in await sealed_rows(db, after=0, limit=100):
        assert row.link is not None
        before = chain(before, row.id, row.entry, seq=row.link.seq, proven=True)
        await owner.execute("UPDATE audit_log SET hash = $2 WHERE id = $1", row.id, before)
    told, where = fault(await verify(db, macs))
    assert (told, where) == ("the row's MAC is wrong", 4)


@pytest.mark.usefixtures("trail")
async def test_a_forged_row_that_waits_for_its_seal_is_sealed_as_forged(db: PoolDb, macs: Macs, owner: Owner) -> None:
    await owner.execute(
        "INSERT INTO audit_log (event, at, principal_kind, principal_id, action, object_kind, object_id, mac_key, mac)"
        f" VALUES (gen_random_uuid(), now(), 'root', 'x', 'keys:create', 'api_key', 'k', '{macs.current}', '')"
    )
    told_of: list[Sealed] = []
    sealed = await Sealer(db, ring(SECRET), now=now, on_sealed=told_of.append).seal()
    assert sealed is not None
    assert (sealed.forged, told_of) == (1, [sealed])
    told, where = fault(await verify(db, macs))
    assert ("holder of the keys" in told, where) == (True, 9)


@pytest.mark.usefixtures("trail")
async def test_a_tail_cut_with_an_earlier_copy_of_the_end_contradicts_a_head_kept_elsewhere(
    db: PoolDb, macs: Macs, owner: Owner, record: Record, seal_all: Seal
) -> None:
    await owner.execute("CREATE TABLE copy AS SELECT * FROM audit_state")
    await record(2)
    await seal_all()
    kept = (await verify(db, macs)).head
    await owner.execute("DELETE FROM audit_log WHERE seq > 8; DELETE FROM audit_seals WHERE batch > 3")
    await owner.execute("DELETE FROM audit_state; INSERT INTO audit_state SELECT * FROM copy")
    assert (await verify(db, macs)).fault is None
    told, where = fault(await verify(db, macs, expect=kept))
    assert ("before the expected head" in told, where) == (True, 9)


@pytest.mark.usefixtures("trail")
async def test_a_head_kept_elsewhere_is_found_in_a_longer_chain(
    db: PoolDb, macs: Macs, record: Record, seal_all: Seal
) -> None:
    kept = (await verify(db, macs)).head
    await record(4)
    await seal_all()
    assert (await verify(db, macs, expect=kept)).fault is None
    other = Head(kept.seq, bytes(32))
    assert fault(await verify(db, macs, expect=other)) == ("the chain is not the one of the expected head", 8)


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_state SET last_seq = 6",
        "UPDATE audit_state SET batch = 0, mac = NULL, mac_key = NULL",
        "UPDATE audit_state SET mac = ''",
        "DELETE FROM audit_state",
        "DELETE FROM audit_log WHERE seq = 8",
        "DELETE FROM audit_seals",
    ],
)
async def test_a_sealer_that_meets_a_changed_end_goes_on_and_marks_the_next_seal_for_good(
    db: PoolDb, macs: Macs, owner: Owner, record: Record, statement: str
) -> None:
    await owner.execute(statement)
    await record(1)
    sealer = Sealer(db, ring(SECRET), now=now)
    sealed = await sealer.seal() or await sealer.seal()
    assert sealed is not None
    assert (sealed.rows, sealed.continues) == (1, False)
    assert (await verify(db, macs)).fault is not None


@pytest.mark.usefixtures("trail")
async def test_a_sealer_notices_that_the_whole_trail_went_back_in_time(
    db: PoolDb, owner: Owner, record: Record, sealer: Sealer, macs: Macs
) -> None:
    await owner.execute("CREATE TABLE copy AS SELECT * FROM audit_state")
    await record(1)
    await sealer.seal()
    await owner.execute("DELETE FROM audit_log WHERE seq > 8; DELETE FROM audit_seals WHERE batch > 3")
    await owner.execute("DELETE FROM audit_state; INSERT INTO audit_state SELECT * FROM copy")
    await record(1)
    sealed = await sealer.seal()
    assert sealed is not None
    assert not sealed.continues
    assert "not the one that the trail had left" in fault(await verify(db, macs))[0]
    assert (await verify(db, macs, from_batch=4)).fault is None


@pytest.mark.usefixtures("trail")
async def test_a_chain_whose_key_is_not_held_is_not_called_proven(db: PoolDb) -> None:
    verdict = await verify(db, Macs(ring("another-secret-of-thirty-two-bytes").derived(PURPOSE)))
    assert verdict.fault is None
    assert verdict.unproven is not None


def key_file(path: Path, states: dict[str, str]) -> None:
    keys = [
        {
            "id": name,
            "state": state,
            "secret": f"{name}-secret-of-at-least-thirty-two-bytes",
            "since": now().isoformat(),
        }
        for name, state in states.items()
    ]
    path.write_text(json.dumps({"v": 1, "keys": keys}))


async def test_a_rotated_key_takes_the_chain_over_while_the_old_one_is_held(
    db: PoolDb, tmp_path: Path, audit: Any, record: Record
) -> None:
    path = tmp_path / "jwt.json"
    key_file(path, {"old": "current", "new": "next"})
    held = KeyRing({KeyName.JWT: KeySource(file=path)})
    sealer = Sealer(db, held, now=now)
    audit._keys = held
    await record(2)
    assert await sealer.seal()
    key_file(path, {"old": "previous", "new": "current"})
    held.refresh()
    resealed = await sealer.seal()
    assert resealed is not None
    assert (resealed.rows, resealed.continues) == (0, True)
    assert await sealer.seal() is None
    key_file(path, {"new": "current"})
    held.refresh()
    verdict = await verify(db, Macs(held.derived(PURPOSE)))
    assert (verdict.fault, verdict.unproven) == (None, None)


async def test_a_row_under_a_key_that_has_not_arrived_yet_waits_and_is_not_called_forged(
    db: PoolDb, keys: KeyRing, audit: Any, record: Record
) -> None:
    audit._keys = ring("another-secret-of-thirty-two-bytes")
    await record(1)
    assert await Sealer(db, keys, now=now).seal() is None
    late = await Sealer(db, keys, now=lambda: now() + timedelta(hours=1)).seal()
    assert late is not None
    assert late.forged == 1


async def test_sealers_side_by_side_make_one_chain(db: PoolDb, macs: Macs, keys: KeyRing, record: Record) -> None:
    await record(20)
    sealers = [Sealer(db, keys, now=now, batch_rows=2) for _ in range(3)]

    async def work(sealer: Sealer) -> None:
        while (await verify(db, macs)).unsealed:
            await sealer.seal()

    await asyncio.gather(*(work(one) for one in sealers))
    verdict = await verify(db, macs)
    assert (verdict.fault, verdict.rows, verdict.unsealed) == (None, 20, 0)


async def test_a_sealer_that_freezes_in_the_middle_loses_its_turn_and_nothing_else(
    db: PoolDb, macs: Macs, keys: KeyRing, record: Record
) -> None:
    await record(3)

    def freeze() -> datetime:
        time.sleep(1.5)  # as a stopped process would: the event loop stands still inside the transaction
        return now()

    with pytest.raises(CclError):
        await Sealer(db, keys, now=freeze, frozen_after=timedelta(milliseconds=100)).seal()
    sealed = await Sealer(db, keys, now=now).seal()
    assert sealed is not None
    assert (sealed.batch, sealed.rows) == (1, 3)
    assert (await verify(db, macs)).fault is None


async def test_a_row_that_commits_after_its_neighbours_were_sealed_is_sealed_later(
    db: PoolDb, macs: Macs, audit: Any, record: Record, seal_all: Seal
) -> None:
    async with db.transaction() as tx:
        await audit.record(tx, ADMIN, "thing:late", "thing", uuid4())
        await record(2)
        await seal_all()
    await seal_all()
    verdict = await verify(db, macs)
    assert (verdict.fault, verdict.rows, verdict.unsealed) == (None, 3, 0)
