"""The statements of leads and the functions that run them. Only this feature calls them.

Idempotency rows are written here too, because they commit with the lead that they answer for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ccl_service.leads.model import MOVES, Identity, LeadDraft, LeadEvent, LeadState, identities
from ccl_service.platform.db import Db
from ccl_service.platform.part import Part


@dataclass(frozen=True)
class Once:
    """A request that must count once: who repeats it, which route, their key, SHA-256 of the body."""

    principal: str
    route: str
    key: str
    body_sha256: bytes


@dataclass(frozen=True)
class Answered:
    """The first answer to a request."""

    body_sha256: bytes
    status: int
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Known:
    """A lead that an intake recognised, as it was before."""

    id: UUID
    state: LeadState
    has_email: bool


LEAD_INTAKE: Final = """
-- lead_intake: a new person with identities, first contact, events and the answer kept for repeats. No ON CONFLICT: one
-- statement cannot see a concurrent twin, so a unique violation sends the caller to the statements that can
WITH lead AS (
    INSERT INTO leads (id, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance,
                       consent, requested_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)),
keys AS (
    INSERT INTO lead_keys (kind, value_hash, lead_id)
    SELECT kind, value_hash, $1 FROM unnest($13::text[], $14::bytea[]) AS known (kind, value_hash) RETURNING kind),
once AS (
    INSERT INTO idempotency_keys (principal, route, key, body_sha256, status, answer)
    SELECT $15, $16, $17, $18, 201, $19::jsonb WHERE $17::text IS NOT NULL),
{part}
INSERT INTO lead_events (lead_id, kind, actor, data)
SELECT lead_id, kind, actor, data FROM (
    -- the count has the identities written first: who is known is found out before anything else is
    SELECT 1 AS turn, $1 AS lead_id, 'lead.created' AS kind, $20::text AS actor, $21::jsonb AS data
     WHERE (SELECT count(*) FROM keys) > 0
    UNION ALL SELECT 2, lead_id, kind, actor, data FROM begun) AS line ORDER BY turn"""

CONTACT_BEGIN: Final = """
-- contact_begin: the first contact of a known lead, and what the timeline tells of it
WITH {part} INSERT INTO lead_events (lead_id, kind, actor, data) SELECT lead_id, kind, actor, data FROM begun"""

IDEMPOTENT_ANSWER: Final = """
-- idempotent_answer: what the first request with this key was answered
SELECT body_sha256, status, answer FROM idempotency_keys WHERE principal = $1 AND route = $2 AND key = $3"""

IDEMPOTENT_EXPIRE: Final = """
-- idempotent_expire: an answer is kept for 24 hours; after that the key counts as new
DELETE FROM idempotency_keys
 WHERE principal = $1 AND route = $2 AND key = $3 AND created_at < now() - interval '24 hours'"""

IDEMPOTENT_KEEP: Final = """
-- idempotent_keep: keep an answer for repeats
INSERT INTO idempotency_keys (principal, route, key, body_sha256, status, answer) VALUES ($1, $2, $3, $4, $5, $6)"""

LEADS_BY_IDENTITY: Final = """
-- leads_by_identity: the leads that hold any of these identities, e-mail's before phone's, locked
SELECT lead.id, lead.state, lead.email IS NOT NULL AS has_email, known.kind
  FROM lead_keys AS known JOIN leads AS lead ON lead.id = known.lead_id
 WHERE (known.kind, known.value_hash) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))
 ORDER BY known.kind FOR UPDATE OF lead"""

LEAD_COMPLETE: Final = """
-- lead_complete: add what was not known before; nothing known is overwritten, and proof of consent is never replaced
UPDATE leads SET last_name = COALESCE(last_name, $2), email = COALESCE(email, $3), phone = COALESCE(phone, $4),
    zip = COALESCE(zip, $5), vehicle_interest = COALESCE(vehicle_interest, $6), finance = $7::jsonb || finance,
    consent = COALESCE(consent, $8), updated_at = now()
 WHERE id = $1"""

LEAD_KEYS_ADD: Final = """
-- lead_keys_add: identities learnt later; one that belongs to another lead stays there
INSERT INTO lead_keys (kind, value_hash, lead_id) SELECT kind, value_hash, $1
  FROM unnest($2::text[], $3::bytea[]) AS known (kind, value_hash)
ON CONFLICT DO NOTHING"""

LEAD_MOVE: Final = """
-- lead_move: take one step of the life-cycle, only from the states named, and tell the timeline
WITH before AS (SELECT id, state FROM leads WHERE id = $1 AND state = ANY($3::text[]) FOR UPDATE),
moved AS (UPDATE leads SET state = $2, updated_at = now() FROM before WHERE leads.id = before.id RETURNING leads.id)
INSERT INTO lead_events (lead_id, kind, actor, reason, data)
SELECT before.id, 'lead.moved', $4, $5, jsonb_build_object('from', before.state, 'to', $2::text)
  FROM before JOIN moved USING (id) RETURNING id"""

EVENT_ADD: Final = """
-- event_add: one line of a lead's timeline
INSERT INTO lead_events (lead_id, kind, actor, reason, data) VALUES ($1, $2, $3, $4, $5)"""

EVENT_ADD_ONCE: Final = """
-- event_add_once: one line, unless the timeline has one of this kind with these data
INSERT INTO lead_events (lead_id, kind, actor, reason, data) SELECT $1, $2, $3, $4, $5::jsonb
 WHERE NOT EXISTS (SELECT FROM lead_events WHERE lead_id = $1 AND kind = $2 AND data @> $5::jsonb)"""

IDENTITIES_OF: Final = """
-- identities_of: everything by which a lead is recognised
SELECT kind, value_hash FROM lead_keys WHERE lead_id = $1 ORDER BY kind, value_hash"""

LEAD_GET: Final = """
-- lead_get: one lead
SELECT id, state, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance, consent,
       requested_at, created_at, updated_at
  FROM leads WHERE id = $1"""

LEAD_LIST: Final = """
-- lead_list: newest first after the cursor ($1, $2); NULL filters match all
SELECT id, state, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance, consent,
       requested_at, created_at, updated_at
  FROM leads
 WHERE ($1::timestamptz IS NULL OR (created_at, id) < ($1, $2::uuid))
   AND ($3::text IS NULL OR state = $3) AND ($4::text IS NULL OR source = $4)
   AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6)
   AND ($7::text IS NULL OR id = (SELECT lead_id FROM lead_keys WHERE kind = $7 AND value_hash = $8))
 ORDER BY created_at DESC, id DESC LIMIT $9"""

TIMELINE: Final = """
-- timeline: a lead's events after the cursor, in the order in which they were recorded
SELECT id, at, kind, actor, reason, data FROM lead_events WHERE lead_id = $1 AND id > $2 ORDER BY id LIMIT $3"""

PHONE_ADD: Final = """
-- phone_add: a number given later, with the consent that came with it
UPDATE leads SET phone = $2, consent = COALESCE($3, consent), updated_at = now() WHERE id = $1 RETURNING id"""


def finance_of(draft: LeadDraft) -> str:
    """The known finance facts as JSON."""
    return draft.finance.model_dump_json(exclude_none=True)


def consent_of(draft: LeadDraft) -> str | None:
    """The proof of consent as JSON."""
    return draft.consent.model_dump_json(exclude_none=True) if draft.consent else None


def created_data(draft: LeadDraft, origin: Mapping[str, str]) -> str:
    """What the first event of a lead tells, as JSON. ``origin``: which request or file brought it."""
    return json.dumps({"source": draft.source, "consent": draft.consent is not None, **origin_data(origin)})


def origin_data(origin: Mapping[str, str]) -> dict[str, Any]:
    """What an event tells of where it came from."""
    return {"origin": dict(origin)} if origin else {}


def _columns(found: Sequence[Identity]) -> tuple[list[str], list[bytes]]:
    return [one.kind for one in found], [one.value_hash for one in found]


async def intake(
    db: Db,
    lead_id: UUID,
    draft: LeadDraft,
    *,
    requested_at: datetime,
    actor: str,
    origin: Mapping[str, str],
    once: Once | None,
    answer: str,
    first_contact: Part,
) -> int:
    """Insert a new lead in one statement; how many first contacts began with it.

    Raises ConstraintViolated (unique) for a known person or a repeated key.
    """
    kinds, hashes = _columns(identities(draft.email, draft.phone))
    statement = first_contact.within(
        LEAD_INTAKE,
        lead_id,
        draft.source,
        draft.external_id,
        draft.first_name,
        draft.last_name,
        draft.email,
        draft.phone,
        draft.zip,
        draft.vehicle_interest,
        finance_of(draft),
        consent_of(draft),
        requested_at,
        kinds,
        hashes,
        *((once.principal, once.route, once.key, once.body_sha256) if once else (None, None, None, None)),
        answer,
        actor,
        created_data(draft, origin),
    )
    return await db.attempt(*statement) - 1


async def begin_contact(tx: Db, first_contact: Part) -> int:
    """Begin the first contact of a lead that is there already; how many that were."""
    return await tx.execute(*first_contact.within(CONTACT_BEGIN))


async def answered(tx: Db, once: Once) -> Answered | None:
    """The first answer given to this key within 24 hours, or None."""
    await tx.execute(IDEMPOTENT_EXPIRE, once.principal, once.route, once.key)
    row = await tx.fetchrow(IDEMPOTENT_ANSWER, once.principal, once.route, once.key)
    return Answered(row["body_sha256"], row["status"], json.loads(row["answer"])) if row else None


async def keep_answer(tx: Db, once: Once, status: int, answer: Mapping[str, Any]) -> None:
    """Keep an answer. Raises ConstraintViolated (unique) when a concurrent request was first."""
    await tx.execute(
        IDEMPOTENT_KEEP, once.principal, once.route, once.key, once.body_sha256, status, json.dumps(answer)
    )


async def by_identity(tx: Db, found: Sequence[Identity]) -> list[Known]:
    """The leads that hold any of the identities, the e-mail's first, each once; locked until the transaction ends."""
    rows = await tx.fetch(LEADS_BY_IDENTITY, *_columns(found))
    known = {row["id"]: Known(row["id"], LeadState(row["state"]), row["has_email"]) for row in reversed(rows)}
    return list(known.values())[::-1]


async def complete(tx: Db, lead_id: UUID, draft: LeadDraft) -> None:
    """Add to a known lead what it lacked, identities included."""
    await tx.execute(
        LEAD_COMPLETE,
        lead_id,
        draft.last_name,
        draft.email,
        draft.phone,
        draft.zip,
        draft.vehicle_interest,
        finance_of(draft),
        consent_of(draft),
    )
    await tx.execute(LEAD_KEYS_ADD, lead_id, *_columns(identities(draft.email, draft.phone)))


async def add_phone(tx: Db, lead_id: UUID, phone: str, consent: str | None) -> bool:
    """Store a number on the lead. False when there is no such lead."""
    if await tx.fetchval(PHONE_ADD, lead_id, phone, consent) is None:
        return False
    await tx.execute(LEAD_KEYS_ADD, lead_id, *_columns(identities(None, phone)))
    return True


async def move(tx: Db, lead_id: UUID, to: LeadState, actor: str, reason: str | None) -> bool:
    """Move the lead and record it. False, and nothing recorded, when its state does not allow the move."""
    allowed = [str(state) for state in MOVES[to]]
    return await tx.fetchval(LEAD_MOVE, lead_id, to, allowed, actor, reason) is not None


async def add_event(
    tx: Db,
    lead_id: UUID,
    kind: str,
    actor: str,
    *,
    reason: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append to the timeline."""
    await tx.execute(EVENT_ADD, lead_id, kind, actor, reason, json.dumps(dict(data or {})))


async def add_event_once(
    tx: Db, lead_id: UUID, kind: str, actor: str, *, reason: str | None, data: Mapping[str, Any]
) -> None:
    """Append to the timeline, unless a line of this kind with these data is there. The caller holds a lock."""
    await tx.execute(EVENT_ADD_ONCE, lead_id, kind, actor, reason, json.dumps(dict(data)))


async def identities_of(tx: Db, lead_id: UUID) -> list[Identity]:
    """Everything by which a lead is recognised; empty for an unknown one."""
    return [Identity(row["kind"], row["value_hash"]) for row in await tx.fetch(IDENTITIES_OF, lead_id)]


def _lead(row: Any) -> dict[str, Any]:
    lead = dict(row)
    lead["finance"] = json.loads(lead["finance"])
    lead["consent"] = json.loads(lead["consent"]) if lead["consent"] else None
    return lead


async def get(db: Db, lead_id: UUID) -> dict[str, Any] | None:
    """A lead's columns, or None."""
    row = await db.fetchrow(LEAD_GET, lead_id)
    return _lead(row) if row else None


async def page(
    db: Db,
    *,
    after: tuple[datetime, UUID] | None,
    state: str | None,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    who: Identity | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Leads, newest first, at most ``limit`` after the cursor (created_at, id)."""
    rows = await db.fetch(
        LEAD_LIST,
        *(after or (None, None)),
        state,
        source,
        since,
        until,
        *((who.kind, who.value_hash) if who else (None, None)),
        limit,
    )
    return [_lead(row) for row in rows]


async def timeline(db: Db, lead_id: UUID, *, after: int, limit: int) -> list[LeadEvent]:
    """Events with an id above ``after``, oldest first."""
    rows = await db.fetch(TIMELINE, lead_id, after, limit)
    return [
        LeadEvent(row["id"], row["at"], row["kind"], row["actor"], row["reason"], json.loads(row["data"]))
        for row in rows
    ]
