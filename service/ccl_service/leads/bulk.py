"""Takes many people in with a few statements, for imports; whoever is known already goes the way of single intakes.

It owns the statements below and joins the caller's transaction.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from ccl_service.leads import sql
from ccl_service.leads.model import Identity, LeadDraft, identities
from ccl_service.leads.service import CLOCK_SKEW, NO_ORIGIN, FirstContact, Leads, own_request
from ccl_service.platform.db import Db
from ccl_service.platform.problems import CclError, ConstraintViolated, Refused, StatementAborted, ValueRefused

KEYS_KNOWN: Final = """
-- keys_known: which of these identities belong to somebody. The limit keeps the planner at one look into the index for
-- each: a plan made while the table was small would read all of it for every batch of a long import
SELECT wanted.kind, wanted.value_hash FROM unnest($1::text[], $2::bytea[]) AS wanted (kind, value_hash)
 CROSS JOIN LATERAL (SELECT FROM lead_keys AS known
    WHERE known.kind = wanted.kind AND known.value_hash = wanted.value_hash LIMIT 1) AS known"""

LEADS_INTAKE: Final = """
-- leads_intake: new people with their identities, first contacts and events, all or none
WITH lead AS (
    INSERT INTO leads (id, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance,
                       consent, requested_at)
    SELECT id, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance::jsonb,
           consent::jsonb, requested_at
      FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                  $9::text[], $10::text[], $11::text[], $12::timestamptz[])
           AS draft (id, source, external_id, first_name, last_name, email, phone, zip, vehicle_interest, finance,
                     consent, requested_at)),
keys AS (
    INSERT INTO lead_keys (kind, value_hash, lead_id) SELECT * FROM unnest($13::text[], $14::bytea[], $15::uuid[])),
{part}
INSERT INTO lead_events (lead_id, kind, actor, data)
SELECT lead_id, kind, actor, data FROM (
    SELECT 1 AS turn, lead_id, 'lead.created' AS kind, $16::text AS actor, data::jsonb
      FROM unnest($1::uuid[], $17::text[]) AS created (lead_id, data)
    UNION ALL SELECT 2, lead_id, kind, actor, data FROM begun) AS line ORDER BY turn"""


class BulkIntake:
    """Intakes of one transaction."""

    def __init__(
        self, tx: Db, first_contact: FirstContact, *, now: Callable[[], datetime], new_id: Callable[[], UUID]
    ) -> None:
        self._tx, self._first_contact = tx, first_contact
        self._now, self._new_id = now, new_id
        #: First contacts that began with ``accept``, those of the single intakes apart.
        self.begun = 0
        # Each of its intakes is a savepoint inside the transaction.
        self._one_by_one = Leads(tx, first_contact, now=now, new_id=new_id)

    async def accept(
        self, drafts: Sequence[LeadDraft], *, actor: str, origin: Mapping[str, str] = NO_ORIGIN
    ) -> Sequence[bool | CclError]:
        """For each draft: True for a new lead, False for a known person, or why it cannot be taken in.

        The outcome is that of taking them in one after the other. Raises StatementAborted, DatabaseUnavailable.
        """
        found = [identities(draft.email, draft.phone) for draft in drafts]
        fresh = await self._fresh(drafts, found)
        outcomes: dict[int, bool | CclError] = {}
        if fresh and await self._insert([(drafts[at], found[at]) for at in fresh], actor, origin):
            outcomes = dict.fromkeys(fresh, True)
        for at, draft in enumerate(drafts):
            if at not in outcomes:
                outcomes[at] = await self._accept_one(draft, actor, origin)
        return [outcomes[at] for at in range(len(drafts))]

    async def _fresh(self, drafts: Sequence[LeadDraft], found: Sequence[Sequence[Identity]]) -> list[int]:
        """The drafts that share no identity with a known person or with an earlier draft."""
        all_of_them = [one for identities_of_one in found for one in identities_of_one]
        kinds, hashes = [one.kind for one in all_of_them], [one.value_hash for one in all_of_them]
        rows = await self._tx.fetch(KEYS_KNOWN, kinds, hashes)
        seen = {Identity(row["kind"], row["value_hash"]) for row in rows}
        latest, fresh = self._now() + CLOCK_SKEW, []
        for at, (draft, own) in enumerate(zip(drafts, found, strict=True)):
            in_time = draft.requested_at is None or draft.requested_at <= latest
            if in_time and seen.isdisjoint(own):
                fresh.append(at)
            seen.update(own)
        return fresh

    async def _insert(
        self, people: Sequence[tuple[LeadDraft, Sequence[Identity]]], actor: str, origin: Mapping[str, str]
    ) -> bool:
        """Insert them all. False, and nothing done, when the database refuses one of them."""
        now, ids = self._now(), [self._new_id() for _ in people]
        drafts = [draft for draft, _ in people]
        keys = [(one.kind, one.value_hash, lead) for lead, (_, own) in zip(ids, people, strict=True) for one in own]
        newcomers = [(lead, draft.email, own_request(draft, now)) for lead, draft in zip(ids, drafts, strict=True)]
        statement = self._first_contact.start(newcomers).within(
            LEADS_INTAKE,
            ids,
            *_columns(drafts, now),
            *map(list, zip(*keys, strict=True)),
            actor,
            [sql.created_data(draft, origin) for draft in drafts],
        )
        try:
            self.begun += await self._tx.attempt(*statement) - len(people)
        except (ConstraintViolated, ValueRefused, StatementAborted):
            # Somebody took one of them in meanwhile, or one of them cannot be stored: which, the single intakes tell.
            return False
        return True

    async def _accept_one(self, draft: LeadDraft, actor: str, origin: Mapping[str, str]) -> bool | CclError:
        try:
            return (await self._one_by_one.accept(draft, actor=actor, origin=origin)).created
        except (Refused, ConstraintViolated, ValueRefused) as error:
            return error


def _columns(drafts: Sequence[LeadDraft], now: datetime) -> Sequence[list[object]]:
    rows = [
        (
            draft.source,
            draft.external_id,
            draft.first_name,
            draft.last_name,
            draft.email,
            draft.phone,
            draft.zip,
            draft.vehicle_interest,
            sql.finance_of(draft),
            sql.consent_of(draft),
            draft.requested_at or now,
        )
        for draft in drafts
    ]
    return [list(column) for column in zip(*rows, strict=True)]
