"""Many intakes at once come to the same as one after the other."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ccl_service.leads.bulk import BulkIntake
from ccl_service.leads.model import LeadDraft, Source
from ccl_service.leads.service import Leads
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.db import Db, PoolDb, PoolSize
from tests.service.leads.conftest import NOW
from tests.service.polling import eventually


def bulk(tx: Db) -> BulkIntake:
    return BulkIntake(tx, FirstContacts(new_id=uuid4, wake=lambda: None), now=lambda: NOW, new_id=uuid4)


async def one_by_one(tx: Db, drafts: Sequence[LeadDraft]) -> list[bool]:
    leads = Leads(tx, FirstContacts(new_id=uuid4, wake=lambda: None), now=lambda: NOW, new_id=uuid4)
    return [(await leads.accept(draft, actor="import")).created for draft in drafts]


STATE = """
SELECT leads.source, first_name, email, phone, leads.requested_at,
       ARRAY(SELECT value_hash FROM lead_keys WHERE lead_id = leads.id ORDER BY 1) AS keys,
       ARRAY(SELECT kind || ' ' || actor FROM lead_events WHERE lead_id = leads.id ORDER BY id) AS events,
       ARRAY(SELECT state || lane || coalesce(enrolments.requested_at::text, '') || encode(address_hash, 'hex')
               FROM sends JOIN enrolments ON enrolments.id = enrolment_id WHERE sends.lead_id = leads.id) AS sends
  FROM leads ORDER BY keys"""


class Undo(Exception):
    """Roll the transaction back."""


async def run(db: Db, before: Sequence[LeadDraft], drafts: Sequence[LeadDraft], *, at_once: bool) -> Any:
    """Outcomes and all that is stored afterwards; nothing of it stays."""
    found: Any = None
    try:
        async with db.transaction() as tx:
            await one_by_one(tx, before)
            outcomes = await (bulk(tx).accept(drafts, actor="import") if at_once else one_by_one(tx, drafts))
            found = list(outcomes), [tuple(row) for row in await tx.fetch(STATE)]
            raise Undo
    except Undo:
        return found


DRAFT = st.builds(
    lambda name, email, phone, source: LeadDraft(first_name=name, email=email, phone=phone, source=source),
    st.sampled_from(("Ann", "Bob")),
    st.sampled_from((None, "a@example.com", "A@example.com", "b@example.com", "c@example.com")),
    st.sampled_from(("312-555-0141", "312-555-0142", "312-555-0143")),
    st.sampled_from((Source.UPLOAD, Source.API)),
)


def test_outcomes_and_rows_are_those_of_single_intakes(database_url: str) -> None:
    async def compare(before: list[LeadDraft], drafts: list[LeadDraft]) -> None:
        db = PoolDb(database_url, PoolSize(connections=1))
        await db.open()
        try:
            at_once = await run(db, before, drafts, at_once=True)
            assert at_once == await run(db, before, drafts, at_once=False)
        finally:
            await db.close()

    @hypothesis_settings(max_examples=50, deadline=None)
    @given(st.lists(DRAFT, max_size=3), st.lists(DRAFT, max_size=8))
    def check(before: list[LeadDraft], drafts: list[LeadDraft]) -> None:
        asyncio.run(compare(before, drafts))

    check()


async def test_a_person_taken_in_by_somebody_else_meanwhile_is_known(db: PoolDb, count: Any) -> None:
    drafts = [LeadDraft(first_name="Ann", email=f"ann{n}@example.com", source=Source.UPLOAD) for n in range(5)]

    async def blocked() -> bool:
        return bool(await db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async def upload() -> Any:
        async with db.transaction() as tx:
            return await bulk(tx).accept(drafts, actor="import")

    async with db.transaction() as elsewhere:
        await one_by_one(elsewhere, drafts[2:3])
        uploading = asyncio.create_task(upload())
        await eventually(blocked)
    assert await uploading == [True, True, False, True, True]
    assert [await count(table) for table in ("leads", "lead_keys", "sends")] == [5, 5, 5]


async def test_two_uploads_of_the_same_people_at_once_make_each_once(db: PoolDb, count: Any) -> None:
    drafts = [LeadDraft(first_name="Ann", email=f"ann{n}@example.com", source=Source.UPLOAD) for n in range(40)]

    async def upload(people: list[LeadDraft]) -> Any:
        async with db.transaction() as tx:
            return await bulk(tx).accept(people, actor="import")

    first, second = await asyncio.gather(upload(drafts), upload(drafts))
    assert sum(map(bool, [*first, *second])) == await count("leads") == 40
