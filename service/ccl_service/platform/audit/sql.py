"""The statements of the audit trail and the functions that run them. Only this package calls them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ccl_service.platform.audit.model import GENESIS, Entry, Head, Link, Row, Seal, State
from ccl_service.platform.db import Db

COLUMNS: Final = """id, event, at, principal_kind, principal_id, key_id, request_id, client, action, object_kind,
       object_id, objects, changes, mac_key, mac, seq, hash, proven"""

AUDIT_ADD: Final = """
-- audit_add: one change, in the transaction that makes it; its place in the chain comes later
INSERT INTO audit_log (event, at, principal_kind, principal_id, key_id, request_id, client, action, object_kind,
                       object_id, objects, changes, mac_key, mac)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"""

STATE_LOCK: Final = """
-- audit_state_lock: where the chain ends; no row while another process seals
SELECT batch, last_seq, head, mac_key, mac FROM audit_state FOR UPDATE SKIP LOCKED"""

STATE_GET: Final = """
-- audit_state_get: where the chain ends
SELECT batch, last_seq, head, mac_key, mac FROM audit_state"""

STATE_MEND: Final = """
-- audit_state_mend: the row that somebody removed, as of before the first batch; the next seal will say so
INSERT INTO audit_state (batch, last_seq, head) VALUES (0, 0, $1) ON CONFLICT DO NOTHING"""

REAL_END: Final = """
-- audit_real_end: where the tables end, whatever the state says
SELECT COALESCE((SELECT max(batch) FROM audit_seals), 0) AS batch, COALESCE(last.seq, 0) AS seq,
       COALESCE(last.hash, $1) AS hash
  FROM (SELECT) AS always
  LEFT JOIN (SELECT seq, hash FROM audit_log WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1) AS last ON true"""

UNSEALED: Final = f"""
-- audit_unsealed: rows without a place, in the order in which they got their ids. A row that commits late comes late
SELECT {COLUMNS} FROM audit_log WHERE seq IS NULL ORDER BY id LIMIT $1"""  # noqa: S608 - a constant of the program

PLACE: Final = """
-- audit_place: the rows' places in the chain
UPDATE audit_log SET seq = placed.seq, hash = placed.hash, proven = placed.proven
  FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::boolean[]) AS placed (id, seq, hash, proven)
 WHERE audit_log.id = placed.id AND audit_log.seq IS NULL"""

SEAL_ADD: Final = """
-- audit_seal_add: the end of a batch
INSERT INTO audit_seals (batch, last_seq, head, continues, sealed_at, mac_key, mac)
VALUES ($1, $2, $3, $4, $5, $6, $7)"""

STATE_SET: Final = """
-- audit_state_set: the chain's new end
UPDATE audit_state SET batch = $1, last_seq = $2, head = $3, mac_key = $4, mac = $5"""

LAST_SEAL: Final = """
-- audit_last_seal: the newest seal
SELECT batch, last_seq, head, continues, sealed_at, mac_key, mac FROM audit_seals ORDER BY batch DESC LIMIT 1"""

SEALS: Final = """
-- audit_seals_after: seals in order, after batch $1
SELECT batch, last_seq, head, continues, sealed_at, mac_key, mac FROM audit_seals
 WHERE batch > $1 ORDER BY batch LIMIT $2"""

CHAIN: Final = f"""
-- audit_chain: sealed rows in order, after place $1
SELECT {COLUMNS} FROM audit_log WHERE seq > $1 ORDER BY seq LIMIT $2"""  # noqa: S608 - a constant of the program

UNSEALED_COUNT: Final = """
-- audit_unsealed_count: how many rows have no place, and how old the oldest is in seconds
SELECT count(*) AS rows, COALESCE(EXTRACT(epoch FROM now() - min(at)), 0)::float8 AS oldest_s
  FROM audit_log WHERE seq IS NULL"""

PAGE: Final = f"""
-- audit_page: rows newest first, before id $1; NULL filters match all
SELECT {COLUMNS} FROM audit_log
 WHERE ($1::bigint IS NULL OR id < $1)
   AND ($2::text IS NULL OR action = $2) AND ($3::text IS NULL OR object_kind = $3)
   AND ($4::text IS NULL OR object_id = $4) AND ($5::text IS NULL OR principal_kind = $5)
   AND ($6::text IS NULL OR principal_id = $6) AND ($7::text IS NULL OR request_id = $7)
   AND ($8::timestamptz IS NULL OR at >= $8) AND ($9::timestamptz IS NULL OR at < $9)
 ORDER BY id DESC LIMIT $10"""  # noqa: S608 - a constant of the program

EXPORT: Final = f"""
-- audit_export: sealed rows in the order of the chain, after place $1, within a time
SELECT {COLUMNS} FROM audit_log
 WHERE seq > $1 AND ($2::timestamptz IS NULL OR at >= $2) AND ($3::timestamptz IS NULL OR at < $3)
 ORDER BY seq LIMIT $4"""  # noqa: S608 - a constant of the program


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows; None matches all. ``since`` is included, ``until`` is not."""

    action: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    principal_kind: str | None = None
    principal_id: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows that are not sealed yet, and the age of the oldest in seconds."""

    rows: int
    oldest_s: float


async def add(tx: Db, entry: Entry) -> None:
    """Write a row without a place."""
    await tx.execute(
        AUDIT_ADD,
        entry.event,
        entry.at,
        entry.principal_kind,
        entry.principal_id,
        entry.key_id,
        entry.request_id,
        entry.client,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.objects,
        json.dumps(dict(entry.changes)),
        entry.mac_key,
        entry.mac,
    )


async def lock_state(tx: Db) -> State | None:
    """The state under a lock that ends with the transaction; None while another process holds it."""
    row = await tx.fetchrow(STATE_LOCK)
    return _state(row) if row else None


async def get_state(db: Db) -> State | None:
    """The state; None when somebody removed it."""
    row = await db.fetchrow(STATE_GET)
    return _state(row) if row else None


async def mend_state(tx: Db) -> None:
    """Put the state back when it was removed; nothing while it is there, locked or not."""
    await tx.execute(STATE_MEND, GENESIS)


async def real_end(tx: Db) -> tuple[int, Head]:
    """The newest batch and the last sealed row, by the tables themselves."""
    row = await tx.fetchrow(REAL_END, GENESIS)
    assert row is not None
    return row["batch"], Head(row["seq"], row["hash"])


async def unsealed(tx: Db, limit: int) -> list[Row]:
    """The oldest rows without a place."""
    return [_row(row) for row in await tx.fetch(UNSEALED, limit)]


async def place(tx: Db, placed: Sequence[tuple[int, Link]]) -> None:
    """Give rows their places."""
    await tx.execute(
        PLACE,
        [row_id for row_id, _ in placed],
        [link.seq for _, link in placed],
        [link.hash for _, link in placed],
        [link.proven for _, link in placed],
    )


async def add_seal(tx: Db, seal: Seal, state_mac: bytes) -> None:
    """Write the seal and move the state to it."""
    await tx.execute(
        SEAL_ADD,
        seal.batch,
        seal.head.seq,
        seal.head.hash,
        seal.continues,
        seal.sealed_at,
        seal.mac_key,
        seal.mac,
    )
    await tx.execute(STATE_SET, seal.batch, seal.head.seq, seal.head.hash, seal.mac_key, state_mac)


async def last_seal(db: Db) -> Seal | None:
    """The newest seal; None before the first."""
    row = await db.fetchrow(LAST_SEAL)
    return _seal(row) if row else None


async def seals(db: Db, *, after: int, limit: int) -> list[Seal]:
    """Seals with a batch number above ``after``, in order."""
    return [_seal(row) for row in await db.fetch(SEALS, after, limit, timeout=30)]


async def sealed_rows(db: Db, *, after: int, limit: int) -> list[Row]:
    """Sealed rows with a place above ``after``, in order."""
    return [_row(row) for row in await db.fetch(CHAIN, after, limit, timeout=30)]


async def waiting(db: Db) -> Waiting:
    """What is not sealed yet."""
    row = await db.fetchrow(UNSEALED_COUNT)
    assert row is not None
    return Waiting(row["rows"], row["oldest_s"])


async def page(db: Db, which: Filter, *, before: int | None, limit: int) -> list[Row]:
    """Rows, newest first, at most ``limit`` with an id below ``before``."""
    filters = (which.action, which.object_kind, which.object_id, which.principal_kind, which.principal_id)
    found = await db.fetch(PAGE, before, *filters, which.request_id, which.since, which.until, limit)
    return [_row(row) for row in found]


async def export_page(db: Db, *, after: int, since: datetime | None, until: datetime | None, limit: int) -> list[Row]:
    """Sealed rows in order, at most ``limit`` with a place above ``after``."""
    return [_row(row) for row in await db.fetch(EXPORT, after, since, until, limit, timeout=30)]


def _state(row: Any) -> State:
    return State(row["batch"], Head(row["last_seq"], row["head"]), row["mac_key"], row["mac"])


def _seal(row: Any) -> Seal:
    head = Head(row["last_seq"], row["head"])
    return Seal(row["batch"], head, row["continues"], row["sealed_at"], row["mac_key"], row["mac"])


def _row(row: Any) -> Row:
    link = Link(row["seq"], row["hash"], row["proven"]) if row["seq"] is not None else None
    entry = Entry(
        event=row["event"],
        at=row["at"],
        principal_kind=row["principal_kind"],
        principal_id=row["principal_id"],
        key_id=row["key_id"],
        request_id=row["request_id"],
        client=row["client"],
        action=row["action"],
        object_kind=row["object_kind"],
        object_id=row["object_id"],
        objects=row["objects"],
        changes=json.loads(row["changes"]),
        mac_key=row["mac_key"],
        mac=row["mac"],
    )
    return Row(row["id"], entry, link)
