"""Sends without an answer are settled by the provider's log when no webhook comes: none lost, none sent twice."""

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ccl_service.leads.model import LeadDraft
from ccl_service.mail import provider_log, sql
from ccl_service.mail.jobs import Sender
from ccl_service.mail.model import MAX_ATTEMPTS, NoAnswer
from ccl_service.mail.provider import Mailgun, open_session
from ccl_service.mail.provider_log import LogUnavailable, MailgunLog
from ccl_service.mail.reconcile import Reconciler
from ccl_service.mail.service import apply_event
from ccl_service.mail.unknown import PROOF_AFTER, RETENTION
from ccl_service.mail.webhook import ProviderEvent
from hack.fakes.mailgun import FakeMailgun
from tests.service.mail.conftest import API_KEY
from tests.service.mail.desk import POLICY, Desk, Says

ACCOUNT = "https://api.mailgun.net/mg.example.com"
WITH_ACCOUNT = type(POLICY)(**{**vars(POLICY), "account": ACCOUNT})
LATER = PROOF_AFTER + timedelta(seconds=1)


class Office:
    """A desk whose letters go to the fake, and the reader of its log."""

    def __init__(self, desk: Desk, mailgun: FakeMailgun, session: Any) -> None:
        options = {"base_url": mailgun.url, "domain": "mg.example.com", "api_key": API_KEY}
        self.desk, self.fake = desk, mailgun
        self.client, self.log = Mailgun(session, **options), MailgunLog(session, **options)

    async def send(self) -> None:
        """Work what is due."""
        desk = self.desk
        sender = Sender(desk.db, desk.queue, self.client, policy=WITH_ACCOUNT, keys=desk.keys, jitter=lambda: 0.0)
        for work in await desk.queue.claim(uuid4(), timedelta(seconds=60), 100):
            await sender.handle(work)

    async def look(self, account: str = ACCOUNT) -> int:
        """Look once for unknown sends."""
        return await Reconciler(self.desk.db, self.log, account=account, deployment=None).look()

    async def wait(self, time: timedelta) -> None:
        """What waiting would do."""
        await self.desk.db.execute("UPDATE sends SET sent_at = sent_at - $1::interval, due_at = due_at - $1", time)
        self.fake.log.shift(time.total_seconds())

    async def state(self) -> str:
        """The state of the desk's send."""
        state: str = (await self.desk.send())["state"]
        return state


@pytest.fixture
async def office(desk: Desk, mailgun: FakeMailgun) -> AsyncIterator[Office]:
    async with open_session() as session:
        yield Office(desk, mailgun, session)


async def unknown(office: Office, fault: str) -> None:
    """Let the answer to the desk's send get lost."""
    office.fake.fault(fault, status=500)
    await office.send()
    assert await office.state() == "unknown"


async def test_a_message_that_the_log_shows_was_taken(office: Office) -> None:
    office.fake.events = ()
    await unknown(office, "accept_then_status")
    assert await office.look() == 0  # the webhook gets its chance first
    await office.wait(sql.FIRST_LOOK)
    assert await office.look() == 1
    assert await office.state() == "accepted"
    assert (await office.desk.send())["provider_id"] == office.fake.mails[0].id


async def test_the_log_also_tells_a_bounce(office: Office) -> None:
    office.fake.fault("bounce")
    await unknown(office, "accept_then_status")
    await office.wait(sql.FIRST_LOOK)
    await office.look()
    assert await office.state() == "bounced"
    assert await office.desk.db.fetchval("SELECT reason FROM suppressions") == "bounce"


async def test_an_absence_counts_only_after_the_log_may_have_been_late(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(PROOF_AFTER - timedelta(minutes=1))
    await office.look()
    assert await office.state() == "unknown"
    await office.wait(timedelta(minutes=6))
    await office.look()
    send = await office.desk.send()
    assert (send["state"], send["attempts"]) == ("queued", 1)
    await office.desk.due_now()
    await office.send()
    assert (await office.desk.send())["id"] == send["id"]
    assert [mail.variables["send_id"] for mail in office.fake.mails] == [str(send["id"])]
    assert (await office.desk.kinds()).count("mail.queued") == 2


async def test_an_event_that_appears_late_in_a_page_already_read_is_found(office: Office) -> None:
    office.fake.fault("log_late", seconds=20 * 60)
    await unknown(office, "accept_then_status")
    await office.wait(sql.FIRST_LOOK)
    await office.look()
    assert await office.state() == "unknown"
    await office.wait(LATER)
    await office.look()
    assert await office.state() == "delivered"
    assert len(office.fake.mails) == 1


async def test_a_log_that_does_not_answer_proves_nothing(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(LATER)
    office.fake.fault("log_status", status=503)
    await office.look()
    assert await office.state() == "unknown"


async def test_the_log_of_another_account_proves_nothing(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(LATER)
    await office.look(account="https://api.eu.mailgun.net/mg.example.com")
    assert await office.state() == "unknown"


async def test_beyond_what_the_provider_keeps_a_human_decides(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(RETENTION + timedelta(minutes=1))
    await office.look()
    send = await office.desk.send()
    assert (send["state"], send["reason"]) == ("failed", "unknown")


async def test_a_delivery_told_after_that_still_counts(office: Office) -> None:
    await test_beyond_what_the_provider_keeps_a_human_decides(office)
    send = (await office.desk.send())["id"]
    event = ProviderEvent("late", "delivered", datetime.now(UTC), True, None, send, None)
    assert await apply_event(office.desk.db, event)
    assert await office.state() == "delivered"


async def test_what_is_never_taken_is_given_up_at_last(office: Office) -> None:
    await unknown(office, "status")
    await office.desk.db.execute("UPDATE sends SET attempts = $1", MAX_ATTEMPTS - 1)
    await office.wait(LATER)
    await office.look()
    send = await office.desk.send()
    assert (send["state"], send["reason"]) == ("failed", "gave_up:not_taken")


async def test_a_judgement_that_comes_too_late_changes_nothing(office: Office) -> None:
    """Another process was quicker, and the same send is already out a second time."""
    await unknown(office, "status")
    old = (await office.desk.send())["sent_at"]
    await office.wait(LATER)
    async with office.desk.db.transaction() as tx:
        assert await sql.requeue_unknown(tx, (await office.desk.send())["id"], old) is None
    assert await office.state() == "unknown"


async def test_two_processes_look_for_different_sends(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(sql.FIRST_LOOK)
    assert [await office.look(), await office.look()] == [1, 0]


async def test_sends_of_another_deployment_are_left_alone(office: Office) -> None:
    await unknown(office, "status")
    await office.wait(LATER)
    await office.desk.db.execute("INSERT INTO deployment_identity (id) VALUES ('another')")
    assert await office.look() == 0


async def test_many_pages_are_read_to_the_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider_log, "PAGE_EVENTS", 3)
    office.fake.events = ()
    for number in range(10):
        await office.desk.leads.accept(LeadDraft(first_name="Bob", email=f"b{number}@example.com"), actor="api")
    office.fake.fault("accept_then_status", times=10)
    office.fake.fault("status")  # the eleventh was not taken
    await office.send()
    states = "SELECT array_agg(DISTINCT state ORDER BY state) FROM sends"
    assert await office.desk.db.fetchval(states) == ["unknown"]
    await office.wait(LATER)
    assert await office.look() == 11
    rows = await office.desk.db.fetch("SELECT id, state FROM sends")
    taken = {UUID(mail.variables["send_id"]) for mail in office.fake.mails}
    assert len(taken) == 10
    assert all(row["state"] == ("accepted" if row["id"] in taken else "queued") for row in rows)
    assert office.fake.log.pages == 5  # 3 + 3 + 3 + 1, and the empty one


async def test_more_pages_than_can_be_are_no_end(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    await unknown(office, "accept_then_status")
    monkeypatch.setattr(provider_log, "MOST_PAGES", 1)
    begin, end = (datetime.fromtimestamp(time.time() + seconds, UTC) for seconds in (-60, 60))
    with pytest.raises(LogUnavailable):
        [event async for event in office.log.events(begin, end)]


async def test_a_send_notes_the_account_that_was_asked(desk: Desk) -> None:
    await desk.work(Says(NoAnswer("http:500")), policy=WITH_ACCOUNT)
    send = await desk.send()
    assert (send["state"], send["via"]) == ("unknown", ACCOUNT)
