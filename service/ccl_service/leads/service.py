"""Use cases of leads: take one in, find, tell the timeline, move along the life-cycle.

What follows from a new lead (the first contact) belongs to mail and comes in as ``FirstContact``, which is part of the
statement that makes the lead. Functions that take ``tx`` are for other features: they join the caller's transaction.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Protocol
from uuid import UUID

from pydantic_core import PydanticCustomError

from ccl_service.leads import sql
from ccl_service.leads.model import (
    BEFORE_HAND_OFF,
    OWN_REQUEST,
    Consent,
    EventKind,
    Identity,
    LeadDraft,
    LeadEvent,
    LeadState,
    Outcome,
    identities,
    normal_phone,
)
from ccl_service.platform.db import Db
from ccl_service.platform.part import Part
from ccl_service.platform.problems import (
    ConstraintViolated,
    FieldError,
    IdempotencyMismatch,
    NotFound,
    StatementAborted,
    ValidationFailed,
)
from ccl_service.platform.telemetry import Count, uncounted

#: How far a caller's clock may run ahead of ours.
CLOCK_SKEW: Final = timedelta(minutes=5)
#: How often two intakes of one person may collide before the caller is asked to try again.
COLLISIONS: Final = 5
NO_ORIGIN: Final[Mapping[str, str]] = MappingProxyType({})


#: A lead whose first contact is due: its id, its e-mail, and when the person asked for it themselves (None when
#: somebody else brought them in).
Newcomer = tuple[UUID, str | None, datetime | None]


class FirstContact(Protocol):
    """Starts the first contacts of leads."""

    def start(self, people: Sequence[Newcomer]) -> Part:
        """The part of a statement that begins them.

        Its ``begun`` is what their timelines tell of it, a line for each that begins: lead_id, kind, actor, data.
        """

    def committed(self, begun: int) -> None:
        """Called after commit: so many have begun, and there may be work."""


class Leads:
    """Takes leads in and gives them out."""

    def __init__(
        self,
        db: Db,
        first_contact: FirstContact,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        count: Count = uncounted,
    ) -> None:
        self._count = count
        self._db = db
        self._first_contact = first_contact
        self._now = now
        self._new_id = new_id

    async def accept(
        self, draft: LeadDraft, *, actor: str, origin: Mapping[str, str] = NO_ORIGIN, once: sql.Once | None = None
    ) -> Outcome:
        """Take a person in, once: a known person is completed, a repeated request gets its first answer again.

        The timeline keeps ``origin``, ids of the request or file that brought the person and of who sent it.
        Raises IdempotencyMismatch for a key used with another body, ValidationFailed for a time in the future,
        StatementAborted when concurrent intakes of one person keep colliding.
        """
        now = self._now()
        if draft.requested_at and draft.requested_at > now + CLOCK_SKEW:
            raise ValidationFailed([FieldError(("requested_at",), "future", "lies in the future")])
        for _ in range(COLLISIONS):
            try:
                return await self._take_in(draft, now, actor, origin, once)
            except ConstraintViolated as exc:
                if exc.kind != "unique":
                    raise
            except StatementAborted:
                pass  # two intakes locked the same rows in turn; the loser looks again
            try:
                outcome = await self._known(draft, now, actor, origin, once)
            except (ConstraintViolated, StatementAborted):
                continue
            if outcome:
                return outcome
        raise StatementAborted

    async def _take_in(
        self, draft: LeadDraft, now: datetime, actor: str, origin: Mapping[str, str], once: sql.Once | None
    ) -> Outcome:
        outcome = Outcome(self._new_id(), LeadState.NEW, created=True)
        begun = await sql.intake(
            self._db,
            outcome.id,
            draft,
            requested_at=draft.requested_at or now,
            actor=actor,
            origin=origin,
            once=once,
            answer=json.dumps(outcome.answer()),
            first_contact=self._first_contact.start([(outcome.id, draft.email, own_request(draft, now))]),
        )
        self._first_contact.committed(begun)
        self._count("ccl_leads_created", draft.source)
        return outcome

    async def _known(
        self, draft: LeadDraft, now: datetime, actor: str, origin: Mapping[str, str], once: sql.Once | None
    ) -> Outcome | None:
        """The outcome for a repeated request or a known person; None when neither is there any more."""
        async with self._db.transaction() as tx:
            if once and (first := await sql.answered(tx, once)):
                return _replay(first, once)
            found = await sql.by_identity(tx, identities(draft.email, draft.phone))
            if not found:
                return None
            lead, *others = found
            await sql.complete(tx, lead.id, draft)
            # The e-mail may belong to one lead and the phone to another; the e-mail's wins and the timeline says so.
            also = {"also_known_as": [str(other.id) for other in others]} if others else {}
            data: dict[str, Any] = {"source": draft.source} | also | sql.origin_data(origin)
            await sql.add_event(tx, lead.id, EventKind.LEAD_REPEATED, actor, data=data)
            # Under the lock on the lead: of two requests that bring the first address, the second finds it there.
            first_address = draft.email and not lead.has_email and lead.state in BEFORE_HAND_OFF
            if first_address:
                newcomer = (lead.id, draft.email, own_request(draft, now))
                begun = await sql.begin_contact(tx, self._first_contact.start([newcomer]))
            outcome = Outcome(lead.id, lead.state, created=False)
            if once:
                await sql.keep_answer(tx, once, 200, outcome.answer())
        if first_address:
            self._first_contact.committed(begun)
        return outcome

    async def get(self, lead_id: UUID) -> dict[str, Any]:
        """A lead. Raises NotFound."""
        lead = await sql.get(self._db, lead_id)
        if lead is None:
            raise NotFound("no lead with this id")
        return lead

    async def page(
        self,
        *,
        after: tuple[datetime, UUID] | None,
        state: str | None,
        source: str | None,
        since: datetime | None,
        until: datetime | None,
        who: Identity | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """Leads that match all filters, newest first, at most ``limit`` after the cursor."""
        return await sql.page(
            self._db.read, after=after, state=state, source=source, since=since, until=until, who=who, limit=limit
        )

    async def timeline(self, lead_id: UUID, *, after: int = 0, limit: int = 500) -> list[LeadEvent]:
        """What happened to a lead, oldest first. Raises NotFound."""
        events = await sql.timeline(self._db.read, lead_id, after=after, limit=limit)
        if not events and after == 0:
            # a copy may not know the lead yet
            events = await sql.timeline(self._db, lead_id, after=after, limit=limit)
        if not events and after == 0:
            raise NotFound("no lead with this id")  # every lead has at least the event of its creation
        return events


def own_request(draft: LeadDraft, now: datetime) -> datetime | None:
    """When the person asked for it themselves; None when somebody else brought them in."""
    return (draft.requested_at or now) if draft.source in OWN_REQUEST else None


def _replay(first: sql.Answered, once: sql.Once) -> Outcome:
    if first.body_sha256 != once.body_sha256:
        raise IdempotencyMismatch
    answer = first.answer
    return Outcome(UUID(answer["id"]), LeadState(answer["state"]), created=answer["created"], replayed=True)


async def record(
    tx: Db,
    lead_id: UUID,
    kind: EventKind,
    actor: str,
    *,
    reason: str | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Append to a lead's timeline. ``reason`` and ``data`` hold no personal data: codes, counts and ids only."""
    await sql.add_event(tx, lead_id, kind, actor, reason=reason, data=data)


async def record_once(
    tx: Db,
    lead_id: UUID,
    kind: EventKind,
    actor: str,
    *,
    reason: str | None = None,
    data: Mapping[str, Any],
) -> None:
    """Append, unless the timeline has a line of this kind with these data. The caller holds a lock that orders it."""
    await sql.add_event_once(tx, lead_id, kind, actor, reason=reason, data=data)


async def move(tx: Db, lead_id: UUID, to: LeadState, actor: str, reason: str | None = None) -> bool:
    """Take one step of the life-cycle and record it. False, without a trace, when the present state forbids it."""
    return await sql.move(tx, lead_id, to, actor, reason)


async def store_phone(tx: Db, lead_id: UUID, text: str, *, consent: Consent | None, actor: str) -> str | None:
    """Keep a number that the person gave. Returns it in E.164, or None when the text is not a phone number.

    ``consent``, when given, replaces an earlier one: it is the newer proof. Raises NotFound for an unknown lead.
    """
    try:
        phone = normal_phone(text)
    except PydanticCustomError:
        return None
    proof = consent.model_dump_json(exclude_none=True) if consent else None
    if not await sql.add_phone(tx, lead_id, phone, proof):
        raise NotFound("no lead with this id")
    await sql.add_event(tx, lead_id, EventKind.LEAD_PHONE_GIVEN, actor, data={"consent": consent is not None})
    return phone


async def identities_of(tx: Db, lead_id: UUID) -> list[Identity]:
    """Everything by which the lead is recognised, e-mails first; empty for an unknown lead."""
    return await sql.identities_of(tx, lead_id)


async def contact(tx: Db, lead_id: UUID) -> dict[str, Any] | None:
    """The lead's columns for a feature that is about to write to the person, or None."""
    return await sql.get(tx, lead_id)
