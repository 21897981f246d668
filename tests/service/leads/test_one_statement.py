"""A new lead, its first mail and what the timeline tells of both are one statement; nothing of it is told too early."""

from collections import Counter
from uuid import uuid4

import pytest

from ccl_service.leads.model import LeadDraft
from ccl_service.leads.service import Leads
from ccl_service.leads.sql import Once
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.db import Db, PoolDb, PoolSize
from tests.service.leads.conftest import NOW
from tests.service.statements import Statements

ANN = LeadDraft(first_name="Ann", email="ann@example.com", phone="312-555-0142")
BOB = LeadDraft(first_name="Bob", phone="312-555-0143")
CARL = LeadDraft(first_name="Carl", email="carl@example.com")
BOB_WITH_MAIL = BOB.model_copy(update={"email": "bob@example.com"})


class Told:
    """Intakes, what they counted, and how often they woke a worker."""

    def __init__(self, db: Db) -> None:
        self.counts: Counter[str] = Counter()
        self.woken = 0
        contacts = FirstContacts(new_id=uuid4, wake=self._wake, count=self._count)
        self.leads = Leads(db, contacts, now=lambda: NOW, new_id=uuid4)

    def _wake(self) -> None:
        self.woken += 1

    def _count(self, name: str, *_: str, by: float = 1) -> None:
        self.counts[name] += int(by)


@pytest.fixture
def told(db: PoolDb) -> Told:
    return Told(db)


@pytest.mark.parametrize("draft", [ANN, BOB], ids=["with an address", "without one"])
async def test_a_new_lead_is_one_statement_with_or_without_a_first_mail(draft: LeadDraft, database_url: str) -> None:
    watch = Statements()
    pool = PoolDb(database_url, PoolSize(connections=1), watch=watch)
    await pool.open()
    try:
        leads = Told(pool).leads
        await leads.accept(CARL, actor="api")  # the driver asks a new connection about its types
        await leads.accept(draft, actor="api", once=Once("internal-api", "POST /api/leads", "k", b"1" * 32))
    finally:
        await pool.close()
    assert watch.ran[-2:] == ["lead_intake", "lead_intake"]


async def test_the_timeline_tells_of_the_lead_first_and_then_of_its_mail(told: Told, db: PoolDb) -> None:
    for number in range(10):  # beyond the fifth the server plans a statement for good
        draft = LeadDraft(first_name="Ann", email=f"ann{number}@example.com")
        created, queued = await told.leads.timeline((await told.leads.accept(draft, actor="api")).id)
        assert (created.kind, created.actor, queued.kind) == ("lead.created", "api", "mail.queued")
        assert created.at <= queued.at
        assert queued.actor == "agent:EmailReengagement"
        send = await db.fetchval("SELECT id FROM sends ORDER BY created_at DESC LIMIT 1")
        assert queued.data == {"send_id": str(send), "sequence": "first-contact"}


async def test_whoever_is_known_is_found_out_before_anything_else_is_written(told: Told) -> None:
    first = await told.leads.accept(ANN, actor="api")
    await told.leads.accept(ANN, actor="api")
    created, queued, repeated = await told.leads.timeline(first.id)
    # numbers of a sequence do not come back: a line that was written in vain would have taken one
    assert (queued.id - created.id, repeated.id - created.id) == (1, 2)


async def test_only_a_first_contact_that_begins_is_counted(told: Told, db: PoolDb) -> None:
    await told.leads.accept(ANN, actor="api")
    assert told.counts["ccl_first_contacts"] == 1
    bob = await told.leads.accept(BOB, actor="api")
    assert told.counts["ccl_first_contacts"] == 1
    await told.leads.accept(BOB_WITH_MAIL, actor="api")
    assert (told.counts["ccl_first_contacts"], told.woken) == (2, 3)
    assert [event.kind for event in await told.leads.timeline(bob.id)][-1] == "mail.queued"


async def test_who_was_enrolled_before_gets_no_second_mail_no_line_and_no_count(told: Told, db: PoolDb) -> None:
    bob = await told.leads.accept(BOB, actor="api")
    enrolled = "INSERT INTO enrolments (id, sequence, lead_id, occasion) VALUES ($1, 'first-contact', $1, 'intake')"
    await db.execute(enrolled, bob.id)
    await told.leads.accept(BOB_WITH_MAIL, actor="api")
    assert [event.kind for event in await told.leads.timeline(bob.id)] == ["lead.created", "lead.repeated"]
    assert (told.counts["ccl_first_contacts"], await db.fetchval("SELECT count(*) FROM sends")) == (0, 0)


async def test_an_intake_that_is_refused_leaves_the_transaction_around_it_usable(db: PoolDb, told: Told) -> None:
    await told.leads.accept(ANN, actor="api")
    async with db.transaction() as tx:
        assert not (await Told(tx).leads.accept(ANN, actor="api")).created
        assert (await Told(tx).leads.accept(BOB, actor="api")).created
    assert await db.fetchval("SELECT count(*) FROM leads") == 2
