"""The statements of mail and the functions that run them. Only this feature calls them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from ccl_service.mail.model import SendState
from ccl_service.mail.unknown import UnknownSend
from ccl_service.platform.db import Db
from ccl_service.platform.part import Part
from ccl_service.platform.work import WorkTable

#: How soon an unknown send is looked for in the provider's log, in case the webhook does not come.
FIRST_LOOK: Final = timedelta(minutes=2)

SENDS: Final = WorkTable(
    "sends",
    claimable=(SendState.QUEUED, SendState.SENDING),
    columns=("lead_id",),
    # Besides those given up: whoever the provider may or may not have written to, and no longer tells.
    waiting="(state = 'quarantined' OR (state = 'failed' AND reason = 'unknown'))",
    reason="reason",
    # One that was begun may be out already; the provider's log decides. Of the others a human has just decided.
    resume="CASE WHEN state = 'quarantined' AND sent_at IS NOT NULL THEN 'unknown' ELSE 'queued' END",
)

#: The part that an intake's statement takes in: leads in one sequence for one occasion, and their first sends; nothing
#: for one that was enrolled before. ``begun`` is what the timelines tell of it.
ENROL: Final = """
person AS (
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bytea[], $6::smallint[])
        AS person (enrolment, send, lead_id, requested_at, address_hash, lane)),
enrolled AS (
    INSERT INTO enrolments (id, sequence, lead_id, occasion, requested_at)
    SELECT enrolment, $7, lead_id, $8, requested_at FROM person
    ON CONFLICT (sequence, lead_id, occasion) DO NOTHING RETURNING id),
queued AS (
    INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, lane)
    SELECT send, enrolment, 0, lead_id, address_hash, 'queued', lane FROM person JOIN enrolled ON id = enrolment
    RETURNING id, lead_id),
begun AS (
    SELECT lead_id, 'mail.queued' AS kind, $9::text AS actor,
           jsonb_build_object('send_id', id, 'sequence', $7::text) AS data FROM queued)"""

SEND_PLAN: Final = """
-- send_plan: what a claimed send is about, as the database clock sees it
SELECT sends.id, sends.lead_id, sends.held, enrolments.sequence, enrolments.requested_at, now() AS now,
       EXISTS (SELECT FROM deployment_identity WHERE id IS DISTINCT FROM $2) AS other_deployment
  FROM sends JOIN enrolments ON enrolments.id = sends.enrolment_id WHERE sends.id = $1"""

SEND_BEGIN: Final = """
-- send_begin: the mark just before the request. A suppression committed before this statement is never overtaken, and a
-- lease too short for the request ($3) or a database that belongs to another deployment ($4) begins nothing
UPDATE sends SET state = 'sending', held = NULL, sent_at = now(), via = $5
 WHERE id = $1 AND claim_id = $2 AND state = 'queued' AND lease_until > now() + $3::interval
   AND NOT EXISTS (SELECT FROM suppressions WHERE kind = 'email' AND value_hash = sends.address_hash)
   AND NOT EXISTS (SELECT FROM deployment_identity WHERE id IS DISTINCT FROM $4)
-- a mark that a crash of the database may forget would let the mail be sent twice, whatever the database's default
RETURNING id, set_config('synchronous_commit', 'on', true)"""

SEND_SUPPRESS: Final = """
-- send_suppress: a send whose address may not be written to ends here
UPDATE sends SET state = 'suppressed', claim_id = NULL, lease_until = NULL, held = NULL,
    reason = (SELECT reason FROM suppressions WHERE kind = 'email' AND value_hash = sends.address_hash LIMIT 1)
 WHERE id = $1 AND claim_id = $2 AND state = 'queued'
   AND EXISTS (SELECT FROM suppressions WHERE kind = 'email' AND value_hash = sends.address_hash)
RETURNING reason"""

SEND_HOLD: Final = """
-- send_hold: why a send waits; the row says whether that is news
UPDATE sends SET held = $3 WHERE id = $1 AND claim_id = $2 AND held IS DISTINCT FROM $3 RETURNING id"""

SEND_AGAIN: Final = """
-- send_again: the provider provably did not take it; due again after $3, counted as $4 attempts
UPDATE sends SET state = 'queued', due_at = now() + $3::interval, attempts = attempts + $4, claims = 0,
    claim_id = NULL, lease_until = NULL, held = $5
 WHERE id = $1 AND claim_id = $2 AND state = 'sending' RETURNING id"""

SEND_LOCK: Final = """
-- send_lock: a send and its state, locked until the fact about it is written
SELECT id, lead_id, state, address_hash FROM sends WHERE id = $1 FOR UPDATE"""

SEND_FACT: Final = """
-- send_fact: a fact moved the send to $2; whoever held a claim has nothing left to do
UPDATE sends SET state = $2, reason = COALESCE($3, reason), provider_id = COALESCE($4, provider_id), held = NULL,
    claims = 0, claim_id = NULL, lease_until = NULL,
    due_at = CASE WHEN $2 = 'unknown' THEN now() + $5::interval ELSE due_at END
 WHERE id = $1"""

SENDS_UNKNOWN: Final = """
-- sends_unknown: up to $1 sends that nobody knows the outcome of, longest due first; due again after $2
UPDATE sends SET due_at = now() + $2::interval
 WHERE id IN (SELECT id FROM sends WHERE state = 'unknown' AND due_at <= now()
               ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
   AND NOT EXISTS (SELECT FROM deployment_identity WHERE id IS DISTINCT FROM $3)
RETURNING id, sent_at, now() AS asked_at, attempts, via"""

SEND_REQUEUE: Final = """
-- send_requeue: an unknown send that the provider provably did not take, still as it was judged
UPDATE sends SET state = 'queued', due_at = now(), attempts = attempts + 1, claims = 0, reason = NULL
 WHERE id = $1 AND state = 'unknown' AND sent_at = $2 RETURNING lead_id"""

SEND_LOCK_UNKNOWN: Final = """
-- send_lock_unknown: a send that is still unknown, as it was judged
SELECT id FROM sends WHERE id = $1 AND state = 'unknown' AND sent_at = $2 FOR UPDATE"""

WEBHOOK_ONCE: Final = """
-- webhook_once: remember the token of a signature; no row when it was used before
INSERT INTO webhook_tokens (token_hash) VALUES ($1) ON CONFLICT DO NOTHING RETURNING token_hash"""

SEND_SEEN: Final = """
-- send_seen: opened or clicked, the first time only
UPDATE sends SET opened_at = CASE WHEN $2 = 'opened' THEN COALESCE(opened_at, $3) ELSE opened_at END,
    clicked_at = CASE WHEN $2 = 'clicked' THEN COALESCE(clicked_at, $3) ELSE clicked_at END
 WHERE id = $1"""

SENDS_CANCEL: Final = """
-- sends_cancel: what has not begun for this lead never will
UPDATE sends SET state = 'cancelled', reason = $2, claim_id = NULL, lease_until = NULL, held = NULL
 WHERE lead_id = $1 AND state = 'queued'"""

SEND_BY_PROVIDER: Final = """
-- send_by_provider: the send that the provider knows under this id
SELECT id FROM sends WHERE provider_id = $1"""

SEND_EVENT_ADD: Final = """
-- send_event_add: remember an event of the provider's; no row when it was applied before
INSERT INTO send_events (event_id, day, send_id, kind, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (event_id, day) DO NOTHING RETURNING event_id"""

SUPPRESS: Final = """
-- suppress: never write to these again; the first reason stays
INSERT INTO suppressions (kind, value_hash, reason) SELECT kind, value_hash, $3
  FROM unnest($1::text[], $2::bytea[]) AS known (kind, value_hash)
ON CONFLICT (kind, value_hash, scope) DO NOTHING"""

DEPLOYMENT_BIND: Final = """
-- deployment_bind: the first deployment that sends from this database is the one that may
INSERT INTO deployment_identity (id) VALUES ($1) ON CONFLICT DO NOTHING"""


class FirstSend(NamedTuple):
    """An enrolment and its first send, both under new ids; in the order of ``ENROL``."""

    enrolment: UUID
    send: UUID
    lead_id: UUID
    requested_at: datetime | None
    address_hash: bytes
    lane: int


DEPLOYMENT_OTHER: Final = """
-- deployment_other: whether the database belongs to another deployment than $1
SELECT EXISTS (SELECT FROM deployment_identity WHERE id IS DISTINCT FROM $1)"""


@dataclass(frozen=True)
class Plan:
    """A claimed send: which sequence, for whom, asked for when (None: not by the person)."""

    id: UUID
    lead_id: UUID
    held: str | None
    sequence: str
    requested_at: datetime | None
    now: datetime
    other_deployment: bool


@dataclass(frozen=True)
class Locked:
    """A send under lock."""

    id: UUID
    lead_id: UUID
    state: SendState
    address_hash: bytes


def enrol(first: Sequence[FirstSend], *, sequence: str, occasion: str, actor: str) -> Part:
    """Enrol and queue the first step of each."""
    columns = ([one[at] for one in first] for at in range(len(FirstSend._fields)))
    return Part(ENROL, (*columns, sequence, occasion, actor))


async def plan(db: Db, send_id: UUID, deployment: str | None) -> Plan | None:
    """What the send is about; None when it is gone."""
    row = await db.fetchrow(SEND_PLAN, send_id, deployment)
    return Plan(**row) if row else None


async def begin(
    db: Db, send_id: UUID, claim: UUID, *, needs: timedelta, deployment: str | None, via: str | None
) -> bool:
    """Mark as ``sending``. False when suppressed, bound elsewhere, cancelled, or the claim is lost or too short.

    ``via`` names the account that will be asked.
    """
    return await db.fetchval(SEND_BEGIN, send_id, claim, needs, deployment, via) is not None


async def suppress_send(tx: Db, send_id: UUID, claim: UUID) -> str | None:
    """End a send whose address is suppressed: the suppression's reason, None when it is not suppressed."""
    reason: str | None = await tx.fetchval(SEND_SUPPRESS, send_id, claim)
    return reason


async def hold(tx: Db, send_id: UUID, claim: UUID, why: str) -> bool:
    """Note why a send waits. False when that was known or the claim is lost."""
    return await tx.fetchval(SEND_HOLD, send_id, claim, why) is not None


async def again(
    db: Db, send_id: UUID, claim: UUID, *, delay: timedelta, attempts: int, held: str | None = None
) -> bool:
    """Queue once more a send that was provably not taken. False when the claim is lost."""
    return await db.fetchval(SEND_AGAIN, send_id, claim, delay, attempts, held) is not None


async def lock(tx: Db, send_id: UUID) -> Locked | None:
    """Lock a send for a fact about it."""
    row = await tx.fetchrow(SEND_LOCK, send_id)
    return Locked(row["id"], row["lead_id"], SendState(row["state"]), row["address_hash"]) if row else None


async def write_fact(tx: Db, send_id: UUID, state: SendState, *, reason: str | None, provider_id: str | None) -> None:
    """Write the state that a fact led to."""
    await tx.execute(SEND_FACT, send_id, state, reason, provider_id, FIRST_LOOK)


async def unknown_due(db: Db, *, limit: int, look_again: timedelta, deployment: str | None) -> list[UnknownSend]:
    """Sends of unknown outcome to look for now, in no order; nobody else gets them for ``look_again``."""
    rows = await db.fetch(SENDS_UNKNOWN, limit, look_again, deployment)
    return [UnknownSend(**row) for row in rows]


async def requeue_unknown(tx: Db, send_id: UUID, sent_at: datetime) -> UUID | None:
    """Queue a send once more; its lead. None when it is no longer the unknown one that was marked at ``sent_at``."""
    lead_id: UUID | None = await tx.fetchval(SEND_REQUEUE, send_id, sent_at)
    return lead_id


async def lock_unknown(tx: Db, send_id: UUID, sent_at: datetime) -> bool:
    """Lock a send. False when it is no longer the unknown one that was marked at ``sent_at``."""
    return await tx.fetchval(SEND_LOCK_UNKNOWN, send_id, sent_at) is not None


async def remember_token(tx: Db, token: bytes) -> bool:
    """Remember the digest of a signature's token. False when it was used before."""
    return await tx.fetchval(WEBHOOK_ONCE, token) is not None


async def seen(tx: Db, send_id: UUID, kind: str, at: datetime) -> None:
    """Note the first time a letter was opened or clicked."""
    await tx.execute(SEND_SEEN, send_id, kind, at)


async def cancel_queued(tx: Db, lead_id: UUID, reason: str) -> int:
    """Cancel the lead's sends that have not begun; their number."""
    return await tx.execute(SENDS_CANCEL, lead_id, reason)


async def by_provider_id(tx: Db, provider_id: str) -> UUID | None:
    """The send with this provider id."""
    found: UUID | None = await tx.fetchval(SEND_BY_PROVIDER, provider_id)
    return found


async def add_event(tx: Db, event_id: str, send_id: UUID, kind: str, at: datetime) -> bool:
    """Remember a provider event. False when it was applied before."""
    return await tx.fetchval(SEND_EVENT_ADD, event_id, at.date(), send_id, kind, at) is not None


async def suppress(tx: Db, kinds: Sequence[str], hashes: Sequence[bytes], reason: str) -> int:
    """Suppress addresses and numbers by hash; how many of them were not before."""
    return await tx.execute(SUPPRESS, list(kinds), list(hashes), reason)


async def bind_deployment(db: Db, deployment: str) -> None:
    """Bind the database to this deployment, unless it is bound already."""
    await db.execute(DEPLOYMENT_BIND, deployment)


async def bound_elsewhere(db: Db, deployment: str | None) -> bool:
    """Whether the database is bound to another deployment."""
    return bool(await db.fetchval(DEPLOYMENT_OTHER, deployment))
