"""Use cases of mail: start the first contact, apply a fact about a send, suppress a person.

Functions that take ``tx`` join the caller's transaction. Sending itself is jobs.py's business.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID

from ccl_service.leads import service as leads
from ccl_service.leads.model import EventKind, Identity, LeadState, identity
from ccl_service.mail import sql
from ccl_service.mail.model import (
    FIRST_CONTACT,
    FIRST_LANE,
    OCCASION_INTAKE,
    RANK,
    SAYS,
    SendEvent,
    SendState,
    after,
)
from ccl_service.mail.tokens import Unsubscribe
from ccl_service.mail.webhook import ProviderEvent
from ccl_service.platform.db import Db
from ccl_service.platform.part import Part
from ccl_service.platform.telemetry import Count, uncounted

#: How the timeline names a fact.
TOLD_AS: Final = MappingProxyType(
    {
        SendEvent.NO_ANSWER: EventKind.MAIL_UNKNOWN,
        SendEvent.REFUSE: EventKind.MAIL_FAILED,
        SendEvent.ACK: EventKind.MAIL_ACCEPTED,
        SendEvent.DELIVER: EventKind.MAIL_DELIVERED,
        SendEvent.BOUNCE: EventKind.MAIL_BOUNCED,
        SendEvent.COMPLAIN: EventKind.MAIL_COMPLAINED,
    }
)
#: Provider events that are facts about a send's state, besides failures.
FACTS: Final = MappingProxyType(
    {
        "accepted": SendEvent.ACK,
        "rejected": SendEvent.REFUSE,
        "delivered": SendEvent.DELIVER,
        "complained": SendEvent.COMPLAIN,
    }
    # Whatever else happens to a message, the provider has taken it.
    | dict.fromkeys(("opened", "clicked", "unsubscribed"), SendEvent.ACK)
)
#: Provider events that only the timeline tells.
SEEN_AS: Final = MappingProxyType({"opened": EventKind.MAIL_OPENED, "clicked": EventKind.MAIL_CLICKED})
ACTOR: Final = "agent:EmailReengagement"
PROVIDER: Final = "provider:mailgun"


class FirstContacts:
    """Enrols new leads in the built-in sequence ``first-contact``."""

    def __init__(self, *, new_id: Callable[[], UUID], wake: Callable[[], None], count: Count = uncounted) -> None:
        """``wake`` is told after commit that there may be a send to claim."""
        self._new_id = new_id
        self._wake = wake
        self._count = count

    def start(self, people: Sequence[leads.Newcomer]) -> Part:
        """Queue their first mails; without an address there is none."""
        first = [
            sql.FirstSend(
                enrolment=self._new_id(),
                send=self._new_id(),
                lead_id=lead_id,
                requested_at=requested_at,
                address_hash=identity("email", email).value_hash,
                lane=_lane(requested_at),
            )
            for lead_id, email, requested_at in people
            if email is not None
        ]
        return sql.enrol(first, sequence=FIRST_CONTACT, occasion=OCCASION_INTAKE, actor=ACTOR)

    def committed(self, begun: int) -> None:
        """Count them; there may be work."""
        self._count("ccl_first_contacts", by=begun)
        self._wake()


def _lane(requested_at: datetime | None) -> int:
    """Rows that somebody uploaded wait behind people who are waiting for an answer."""
    return FIRST_LANE if requested_at else FIRST_LANE + 1


async def apply_fact(
    tx: Db,
    send_id: UUID,
    event: SendEvent,
    *,
    actor: str,
    reason: str | None = None,
    provider_id: str | None = None,
) -> bool:
    """Apply what is now known about a send, its effects on the lead included; any number of times, in any order.

    Not guarded by a claim: a fact stays true when the lease is lost. False when there is no such send or the fact is
    impossible for it.
    """
    send = await sql.lock(tx, send_id)
    state = after(send.state, event) if send else None
    if send is None or state is None:
        return False
    await sql.write_fact(tx, send_id, state, reason=reason, provider_id=provider_id)
    told = {"send_id": str(send_id)}
    await leads.record_once(tx, send.lead_id, TOLD_AS[event], actor, reason=reason, data=told)
    if RANK[SAYS[event]] >= RANK[SendState.ACCEPTED]:
        await leads.move(tx, send.lead_id, LeadState.CONTACTED, actor, "first contact accepted")
    if event is SendEvent.BOUNCE:
        await sql.suppress(tx, ["email"], [send.address_hash], "bounce")
    if event is SendEvent.COMPLAIN:
        await suppress_person(tx, send.lead_id, actor, "complaint", also=[Identity("email", send.address_hash)])
    return True


async def opt_out(tx: Db, lead_id: UUID, actor: str, reason: str) -> None:
    """The person wants no more of us: every known address and number is suppressed on every channel.

    Queued sends are cancelled, the lead moves to ``opted_out``, the timeline says so once. Repeating changes nothing.
    ``reason`` is a code without personal data, such as ``chat`` or ``unsubscribe_link``.
    """
    await suppress_person(tx, lead_id, actor, "opt_out", told=reason)


async def suppress_person(
    tx: Db,
    lead_id: UUID,
    actor: str,
    reason: str,
    *,
    told: str | None = None,
    also: Sequence[Identity] = (),
) -> bool:
    """Suppress everything known of a person, and ``also``. False when all of it was suppressed before.

    ``reason`` is one of the suppression reasons.
    """
    lead = await leads.identities_of(tx, lead_id)
    known = {*lead, *also}
    ordered = sorted(known, key=lambda one: (one.kind, one.value_hash))
    news = await sql.suppress(tx, [one.kind for one in ordered], [one.value_hash for one in ordered], reason)
    await sql.cancel_queued(tx, lead_id, reason)
    if lead:  # else erased: the suppressions are what is left to do
        # A closed lead keeps its state, and its timeline still tells what the person said.
        await leads.move(tx, lead_id, LeadState.OPTED_OUT, actor, told or reason)
        await leads.record_once(tx, lead_id, EventKind.LEAD_OPTED_OUT, actor, reason=told or reason, data={})
    return news > 0


async def apply_event(db: Db, event: ProviderEvent) -> bool:
    """Apply a provider event and remember it, in one transaction. False when it was applied before or is not ours."""
    async with db.transaction() as tx:
        if event.token and not await sql.remember_token(tx, event.token):
            return False
        send_id = event.send_id
        if send_id is None and event.provider_id:
            send_id = await sql.by_provider_id(tx, event.provider_id)
        send = await sql.lock(tx, send_id) if send_id else None
        if send is None or not await sql.add_event(tx, event.id, send.id, event.kind, event.at):
            return False
        fact = fact_of(event.kind, permanent=event.permanent)
        if fact:
            await apply_fact(
                tx, send.id, fact, actor=PROVIDER, reason=_code(event.reason), provider_id=event.provider_id
            )
        if event.kind in SEEN_AS:
            await sql.seen(tx, send.id, event.kind, event.at)
            told = {"send_id": str(send.id)}
            await leads.record_once(tx, send.lead_id, SEEN_AS[event.kind], PROVIDER, data=told)
        elif event.kind == "unsubscribed":
            await suppress_person(tx, send.lead_id, PROVIDER, "unsubscribe")
        return True


async def unsubscribe(db: Db, who: Unsubscribe) -> bool:
    """The person used the link in a mail. Works also when the lead is gone; False when it was used before."""
    async with db.transaction() as tx:
        also = [Identity("email", who.address_hash)]
        return await suppress_person(tx, who.lead_id, "person", "unsubscribe", told="unsubscribe_link", also=also)


def count_event(count: Count, event: ProviderEvent) -> None:
    """Count what an event that was applied tells."""
    if fact := fact_of(event.kind, permanent=event.permanent):
        count("ccl_sends", SAYS[fact])
    if event.kind == "unsubscribed":
        count("ccl_opt_outs", "provider")


def fact_of(kind: str, *, permanent: bool) -> SendEvent | None:
    """The fact about a send's state in an event of this kind; None when it holds none.

    A temporary failure proves no more than that the provider has the message, and goes on trying.
    """
    if kind == "failed":
        return SendEvent.BOUNCE if permanent else SendEvent.ACK
    return FACTS.get(kind)


def _code(reason: str | None) -> str | None:
    """The provider's reason when it is a code of its own; free text may hold an address."""
    return reason if reason and reason.replace("-", "").replace("_", "").isalnum() and len(reason) <= 40 else None
