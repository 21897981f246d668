"""The life-cycle table is what the database allows, and every move leaves an event."""

import itertools
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from ccl_service.leads.model import MOVES, LeadDraft, LeadState
from ccl_service.leads.service import Leads, move, store_phone
from ccl_service.platform.problems import NotFound


@pytest.fixture
async def lead(leads: Leads) -> Any:
    return (await leads.accept(LeadDraft(first_name="Ann", email="ann@example.com"), actor="api")).id


async def test_the_database_takes_exactly_the_moves_of_the_table(db: Any, lead: Any) -> None:
    for before, to in itertools.product(LeadState, LeadState):
        await db.execute("UPDATE leads SET state = $2 WHERE id = $1", lead, before)
        assert await move(db, lead, to, "test") is (before in MOVES[to]), (before, to)


async def test_a_move_leaves_an_event_with_actor_and_reason(db: Any, leads: Leads, lead: Any) -> None:
    await move(db, lead, LeadState.CONTACTED, "agent:Test", "why")
    last = (await leads.timeline(lead))[-1]
    assert (last.kind, last.actor, last.reason) == ("lead.moved", "agent:Test", "why")
    assert last.data == {"from": "new", "to": "contacted"}


async def test_a_refused_move_leaves_no_event(db: Any, leads: Leads, lead: Any) -> None:
    before = await leads.timeline(lead)
    assert not await move(db, lead, LeadState.SUBMITTED, "agent:Test")
    assert await leads.timeline(lead) == before


async def test_history_cannot_be_rewritten(db: Any, lead: Any) -> None:
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await db.execute("UPDATE lead_events SET actor = 'somebody else' WHERE lead_id = $1", lead)


async def test_a_phone_number_given_later_is_stored_and_identifies(db: Any, leads: Leads, lead: Any) -> None:
    assert await store_phone(db, lead, "312 555 0142", consent=None, actor="visitor") == "+13125550142"
    assert (await leads.get(lead))["phone"] == "+13125550142"
    again = await leads.accept(LeadDraft(first_name="A", phone="(312) 555-0142"), actor="api")
    assert again.id == lead
    assert "+1312" not in str((await leads.timeline(lead))[-2])


async def test_what_is_no_phone_number_is_not_stored(db: Any, lead: Any) -> None:
    assert await store_phone(db, lead, "call me", consent=None, actor="visitor") is None
    with pytest.raises(NotFound):
        await store_phone(db, uuid4(), "312 555 0142", consent=None, actor="visitor")


async def test_a_timeline_of_nobody_is_not_found(db: Any, leads: Leads) -> None:
    with pytest.raises(NotFound):
        await leads.timeline(uuid4())
