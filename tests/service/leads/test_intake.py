"""One person is one lead, one request counts once, however many arrive at the same time."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.leads.model import LeadDraft, LeadState
from ccl_service.leads.service import Leads, Newcomer
from ccl_service.leads.sql import Once
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.part import Part
from ccl_service.platform.problems import ConstraintViolated, IdempotencyMismatch
from tests.service.leads.conftest import NOW

ANN = LeadDraft(first_name="Ann", email="ann@example.com", phone="(312) 555-0142")


def once(key: str, body: bytes = b"1") -> Once:
    return Once("internal-api", "POST /api/leads", key, body * 32)


async def test_a_new_person_becomes_a_new_lead_with_one_queued_mail(leads: Leads, count: Any) -> None:
    outcome = await leads.accept(ANN, actor="api")
    assert (outcome.created, outcome.state) == (True, LeadState.NEW)
    assert [event.kind for event in await leads.timeline(outcome.id)] == ["lead.created", "mail.queued"]
    assert await count("sends") == 1


async def test_the_same_request_is_answered_alike_also_fifty_at_once(leads: Leads, count: Any) -> None:
    outcomes = await asyncio.gather(*(leads.accept(ANN, actor="api", once=once("k")) for _ in range(50)))
    assert len({(outcome.id, outcome.created, outcome.state) for outcome in outcomes}) == 1
    assert sum(not outcome.replayed for outcome in outcomes) == 1
    assert [await count(table) for table in ("leads", "lead_keys", "sends", "idempotency_keys")] == [1, 2, 1, 1]


async def test_the_same_key_with_another_body_is_refused(leads: Leads, count: Any) -> None:
    await leads.accept(ANN, actor="api", once=once("k"))
    with pytest.raises(IdempotencyMismatch):
        await leads.accept(LeadDraft(first_name="Bob", email="bob@example.com"), actor="api", once=once("k", b"2"))
    with pytest.raises(IdempotencyMismatch):
        await leads.accept(ANN, actor="api", once=once("k", b"2"))
    assert await count("leads") == 1


async def test_after_24_hours_a_key_counts_as_new(leads: Leads, db: Any) -> None:
    await leads.accept(ANN, actor="api", once=once("k"))
    await db.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    bob = LeadDraft(first_name="Bob", email="bob@example.com")
    assert (await leads.accept(bob, actor="api", once=once("k", b"2"))).created
    assert (await leads.accept(bob, actor="api", once=once("k", b"2"))).replayed


async def test_one_phone_with_many_addresses_at_once_is_one_lead(leads: Leads, count: Any) -> None:
    drafts = [LeadDraft(first_name="Ann", email=f"ann{n}@example.com", phone="312-555-0142") for n in range(20)]
    outcomes = await asyncio.gather(*(leads.accept(draft, actor="api") for draft in drafts))
    assert sum(outcome.created for outcome in outcomes) == 1
    assert len({outcome.id for outcome in outcomes}) == 1
    assert [await count(table) for table in ("leads", "lead_keys", "sends")] == [1, 21, 1]


async def test_a_known_person_is_completed_and_nothing_known_is_overwritten(leads: Leads) -> None:
    first = await leads.accept(LeadDraft(first_name="Ann", email="Ann@Example.com"), actor="api")
    again = LeadDraft(first_name="Anna", email="ANN@example.com", phone="312-555-0142", zip="60601")
    second = await leads.accept(again, actor="api")
    lead = await leads.get(first.id)
    assert (second.id, second.created) == (first.id, False)
    assert (lead["first_name"], lead["email"], lead["phone"]) == ("Ann", "Ann@example.com", "+13125550142")
    assert [event.kind for event in await leads.timeline(first.id)][-1] == "lead.repeated"


async def test_the_email_decides_when_email_and_phone_belong_to_two_leads(leads: Leads) -> None:
    by_mail = await leads.accept(LeadDraft(first_name="Ann", email="ann@example.com"), actor="api")
    by_phone = await leads.accept(LeadDraft(first_name="Bob", phone="312-555-0142"), actor="api")
    both = await leads.accept(ANN, actor="api")
    assert both.id == by_mail.id
    last = (await leads.timeline(by_mail.id))[-1]
    assert last.data["also_known_as"] == [str(by_phone.id)]


async def test_a_person_without_an_address_gets_no_mail(leads: Leads, count: Any) -> None:
    await leads.accept(LeadDraft(first_name="Bob", phone="312-555-0142"), actor="api")
    assert await count("sends") == 0


BOB = LeadDraft(first_name="Bob", phone="312-555-0142")
BOB_WITH_MAIL = LeadDraft(first_name="Bob", phone="312-555-0142", email="bob@example.com")


async def test_the_first_address_of_a_known_person_begins_the_first_contact(leads: Leads, db: Any) -> None:
    first = await leads.accept(BOB, actor="api")
    second = await leads.accept(BOB_WITH_MAIL, actor="api")
    assert (second.id, second.created) == (first.id, False)
    row = await db.fetchrow("SELECT sends.lead_id, lane, requested_at FROM sends JOIN enrolments ON TRUE")
    assert (row["lead_id"], row["lane"], row["requested_at"]) == (first.id, 0, NOW)
    assert [event.kind for event in await leads.timeline(first.id)][-2:] == ["lead.repeated", "mail.queued"]


async def test_twenty_requests_that_bring_the_first_address_begin_one_first_contact(leads: Leads, count: Any) -> None:
    await leads.accept(BOB, actor="api")
    drafts = [BOB_WITH_MAIL.model_copy(update={"email": f"bob{number % 3}@example.com"}) for number in range(20)]
    await asyncio.gather(*(leads.accept(draft, actor="api") for draft in drafts))
    assert [await count(table) for table in ("leads", "enrolments", "sends")] == [1, 1, 1]


async def test_a_second_address_begins_nothing(leads: Leads, count: Any) -> None:
    await leads.accept(BOB_WITH_MAIL, actor="api")
    await leads.accept(BOB_WITH_MAIL.model_copy(update={"email": "robert@example.com"}), actor="api")
    assert await count("sends") == 1


async def test_somebody_who_is_through_gets_no_first_contact_for_a_new_address(leads: Leads, db: Any) -> None:
    first = await leads.accept(BOB, actor="api")
    await db.execute("UPDATE leads SET state = 'opted_out' WHERE id = $1", first.id)
    await leads.accept(BOB_WITH_MAIL, actor="api")
    assert await db.fetchval("SELECT count(*) FROM sends") == 0


async def test_a_lead_whose_first_contact_cannot_be_queued_is_not_there_either(db: Any, count: Any) -> None:
    class ForSomebodyElse(FirstContacts):
        def start(self, people: Sequence[Newcomer]) -> Part:
            return super().start([(uuid4(), email, requested_at) for _, email, requested_at in people])

        def committed(self, _: int) -> None:
            raise AssertionError("nothing was committed")

    broken = Leads(db, ForSomebodyElse(new_id=uuid4, wake=lambda: None), now=lambda: NOW, new_id=uuid4)
    with pytest.raises(ConstraintViolated) as refused:
        await broken.accept(ANN, actor="api", once=once("k"))
    assert refused.value.kind == "foreign_key"
    tables = ("leads", "lead_keys", "idempotency_keys", "lead_events", "enrolments", "sends")
    assert [await count(table) for table in tables] == [0] * 6
