"""What the provider's answers do to a send; nobody is written to twice, and nobody who must not be written to."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.leads.model import LeadDraft
from ccl_service.mail import sql
from ccl_service.mail.jobs import LEASE, Sender
from ccl_service.mail.model import MAX_ATTEMPTS, Accepted, Hold, NoAnswer, NotTaken, RefusesUs, Rejected
from ccl_service.mail.service import opt_out
from tests.service.mail.desk import POLICY, Desk, Says


async def test_an_accepted_mail_makes_the_lead_contacted(desk: Desk) -> None:
    await desk.work(Says(Accepted("1@mg.example.com")))
    send = await desk.send()
    assert (send["state"], send["provider_id"], send["claim_id"]) == ("accepted", "1@mg.example.com", None)
    assert (await desk.leads.get(desk.lead))["state"] == "contacted"
    assert await desk.kinds() == ["lead.created", "mail.queued", "mail.accepted", "lead.moved"]


async def test_a_refused_mail_fails_for_good(desk: Desk) -> None:
    provider = Says(Rejected("http:400"))
    await desk.work(provider)
    await desk.due_now()
    await desk.work(provider)
    assert (await desk.send())["state"] == "failed"
    assert len(provider.letters) == 1
    assert (await desk.leads.get(desk.lead))["state"] == "new"


async def test_what_was_not_taken_is_tried_again_after_the_provider_s_delay(desk: Desk) -> None:
    await desk.work(Says(NotTaken("http:429", timedelta(minutes=7))))
    send = await desk.send()
    assert (send["state"], send["attempts"], send["claim_id"]) == ("queued", 1, None)
    assert timedelta(minutes=6) < send["wait"] <= timedelta(minutes=7)


async def test_after_the_last_attempt_a_send_is_given_up(desk: Desk) -> None:
    provider = Says(NotTaken("connect:ClientConnectorError"))
    for _ in range(MAX_ATTEMPTS + 2):
        await desk.due_now()
        await desk.work(provider)
    assert (await desk.send())["state"] == "failed"
    assert len(provider.letters) == MAX_ATTEMPTS


async def test_refused_credentials_burn_no_attempt(desk: Desk) -> None:
    await desk.work(Says(RefusesUs("http:401")))
    send = await desk.send()
    assert (send["state"], send["attempts"], send["held"]) == ("queued", 0, Hold.PROVIDER_REFUSES_US)


async def test_a_mail_without_an_answer_is_unknown_and_never_sent_again(desk: Desk) -> None:
    provider = Says(NoAnswer("http:500"))
    await desk.work(provider)
    await desk.due_now()
    await desk.work(provider)
    assert (await desk.send())["state"] == "unknown"
    assert len(provider.letters) == 1


async def test_a_send_interrupted_while_sending_is_unknown_and_never_sent_again(desk: Desk) -> None:
    """The worker died between the mark and the answer: whether the mail went out, nobody here knows."""
    (work,) = await desk.queue.claim(uuid4(), LEASE, 1)
    assert await sql.begin(desk.db, work.id, work.claim, needs=timedelta(seconds=20), deployment=None, via=None)
    await desk.db.execute("UPDATE sends SET lease_until = now() - interval '1 second'")
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider)
    await desk.work(provider)
    assert (await desk.send())["state"] == "unknown"
    assert provider.letters == []


async def test_a_send_interrupted_before_the_mark_is_sent_once(desk: Desk) -> None:
    await desk.queue.claim(uuid4(), LEASE, 1)
    await desk.db.execute("UPDATE sends SET lease_until = now() - interval '1 second'")
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider)
    await desk.work(provider)
    assert len(provider.letters) == 1


async def test_a_lost_claim_begins_nothing(desk: Desk) -> None:
    (work,) = await desk.queue.claim(uuid4(), LEASE, 1)
    assert not await sql.begin(desk.db, work.id, uuid4(), needs=timedelta(seconds=20), deployment=None, via=None)
    assert (await desk.send())["state"] == "queued"


async def test_a_lease_shorter_than_the_request_begins_nothing(desk: Desk) -> None:
    (work,) = await desk.queue.claim(uuid4(), timedelta(seconds=15), 1)
    assert not await sql.begin(desk.db, work.id, work.claim, needs=timedelta(seconds=20), deployment=None, via=None)


async def test_many_workers_write_once_to_each_person(desk: Desk) -> None:
    for number in range(30):
        await desk.take_in(LeadDraft(first_name="Ann", email=f"ann{number}@example.com"))
    provider = Says(Accepted("1@mg.example.com"))
    for _ in range(5):
        await asyncio.gather(*(desk.work(provider) for _ in range(5)))
    assert sorted(letter.to for letter in provider.letters) == sorted(
        ["ann@example.com", *(f"ann{number}@example.com" for number in range(30))]
    )


async def test_a_suppression_made_just_before_the_mark_is_obeyed(desk: Desk) -> None:
    (work,) = await desk.queue.claim(uuid4(), LEASE, 1)
    await desk.db.execute("INSERT INTO suppressions SELECT kind, value_hash, 'all', 'manual' FROM lead_keys")
    provider = Says(Accepted("1@mg.example.com"))
    sender = Sender(desk.db, desk.queue, provider, policy=POLICY, keys=desk.keys, jitter=lambda: 0.0)
    await sender.handle(work)
    send = await desk.send()
    assert (send["state"], send["reason"], provider.letters) == ("suppressed", "manual", [])
    assert "mail.suppressed" in await desk.kinds()


async def test_an_opt_out_cancels_what_is_queued_once_and_suppresses_everything_known(desk: Desk) -> None:
    for _ in range(2):
        async with desk.db.transaction() as tx:
            await opt_out(tx, desk.lead, "visitor", "chat")
    assert (await desk.send())["state"] == "cancelled"
    assert (await desk.leads.get(desk.lead))["state"] == "opted_out"
    assert (await desk.kinds()).count("lead.opted_out") == 1
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider)
    assert provider.letters == []


async def test_an_opt_out_of_a_closed_lead_keeps_the_state_and_is_told(desk: Desk) -> None:
    await desk.db.execute("UPDATE leads SET state = 'closed'")
    async with desk.db.transaction() as tx:
        await opt_out(tx, desk.lead, "visitor", "chat")
    assert (await desk.leads.get(desk.lead))["state"] == "closed"
    assert (await desk.kinds())[-1] == "lead.opted_out"
    assert await desk.db.fetchval("SELECT count(*) FROM suppressions") == 1


async def test_a_suppressed_person_who_comes_back_by_upload_is_not_written_to(desk: Desk) -> None:
    async with desk.db.transaction() as tx:
        await opt_out(tx, desk.lead, "visitor", "chat")
    await desk.db.execute("DELETE FROM leads")
    await desk.take_in(LeadDraft(first_name="Ann", email="ANN@example.com"))
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider)
    assert ((await desk.send())["state"], provider.letters) == ("suppressed", [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"postal_address": None}, Hold.NO_POSTAL_ADDRESS),
        ({"sender": None}, Hold.NO_SENDER),
        ({"link_base": None}, Hold.NO_LINK_BASE),
        ({"allowlist": ()}, Hold.NOT_ON_ALLOWLIST),
        ({"allowlist": ("@example.org", "bob@example.com")}, Hold.NOT_ON_ALLOWLIST),
    ],
)
async def test_a_held_send_waits_burns_no_attempt_and_the_timeline_says_why_once(
    desk: Desk, change: dict[str, Any], why: Hold
) -> None:
    provider = Says(Accepted("1@mg.example.com"))
    for _ in range(8):
        await desk.due_now()
        await desk.work(provider, replace(POLICY, **change))
    send = await desk.send()
    assert (send["state"], send["held"], send["attempts"], send["claims"]) == ("queued", why, 0, 0)
    assert (await desk.kinds()).count("mail.held") == 1
    await desk.due_now()
    await desk.work(provider)
    assert len(provider.letters) == 1


@pytest.mark.parametrize("allowlist", [("*",), ("@EXAMPLE.com",), ("ann@example.com",)])
async def test_an_allowed_person_is_written_to(desk: Desk, allowlist: tuple[str, ...]) -> None:
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider, replace(POLICY, allowlist=allowlist))
    assert len(provider.letters) == 1


async def test_without_a_provider_sends_wait(desk: Desk) -> None:
    await desk.work(None)
    assert (await desk.send())["held"] == Hold.NO_PROVIDER


@pytest.mark.parametrize("deployment", [None, "clone"])
async def test_a_database_bound_to_another_deployment_sends_nothing(desk: Desk, deployment: str | None) -> None:
    await sql.bind_deployment(desk.db, "original")
    await sql.bind_deployment(desk.db, "clone")
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider, replace(POLICY, deployment=deployment))
    assert ((await desk.send())["held"], provider.letters) == (Hold.OTHER_DEPLOYMENT, [])
    await desk.due_now()
    await desk.work(provider, replace(POLICY, deployment="original"))
    assert len(provider.letters) == 1
