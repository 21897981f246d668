"""The fake Mailgun keeps Mailgun's protocol: what a sender sees, and what its webhook receiver gets."""

import asyncio
import contextlib
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from hack.fakes.mailgun import FakeMailgun, start_mailgun
from hack.fakes.server import serving

MAIL = {
    "from": "Cathy <cathy@mail.example.com>",
    "to": "Jo Doe <jo@example.org>",
    "subject": "Your application",
    "text": "Hello <Jo>",
    "v:send_id": "s-1",
    "h:List-Unsubscribe": "<https://x.example/u>",
    "o:tag": "first-contact",
}


@dataclass
class Receiver:
    """A webhook receiver that answers the given statuses in turn, then 200."""

    statuses: list[int] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 (what is waited for is the fake's state, not an event of ours)
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def receiving(*statuses: int) -> AsyncIterator[tuple[FakeMailgun, Receiver]]:
    receiver = Receiver(list(statuses))
    app = web.Application()
    app.router.add_post("/hook", receiver.take)
    async with (
        serving(app, host="127.0.0.1", port=0) as url,
        start_mailgun(
            api_key="key-1", signing_key="sign-1", webhook_url=f"{url}/hook", retry_delays=(0.01, 0.01)
        ) as fake,
    ):
        yield fake, receiver


async def post(
    fake: FakeMailgun, form: dict[str, str], *, key: str = "key-1", timeout: float = 5
) -> tuple[int, str, str | None]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth("api", key)}) as session,
        session.post(
            f"{fake.url}/v3/mail.example.com/messages", data=form, timeout=aiohttp.ClientTimeout(total=timeout)
        ) as answer,
    ):
        return answer.status, await answer.text(), answer.headers.get("Retry-After")


async def test_an_accepted_mail_is_in_the_outbox_and_its_delivery_is_signed() -> None:
    async with receiving() as (fake, receiver):
        status, body, _ = await post(fake, MAIL)
        assert status == 200
        assert "Queued. Thank you." in body
        mail = fake.mails[0]
        assert f"<{mail.id}>" in body
        assert (mail.to, mail.variables, mail.tags) == ("jo@example.org", {"send_id": "s-1"}, ("first-contact",))
        await until(lambda: bool(receiver.bodies))
        signature = receiver.bodies[0]["signature"]
        signed = f"{signature['timestamp']}{signature['token']}".encode()
        assert signature["signature"] == hmac.new(b"sign-1", signed, hashlib.sha256).hexdigest()
        data = receiver.bodies[0]["event-data"]
        assert (data["event"], data["recipient"]) == ("delivered", "jo@example.org")
        assert data["message"]["headers"]["message-id"] == mail.id
        assert data["user-variables"] == {"send_id": "s-1"}


async def test_a_wrong_key_is_refused_with_401() -> None:
    async with receiving() as (fake, _):
        assert (await post(fake, MAIL, key="other"))[0] == 401
        assert fake.mails == []


@pytest.mark.parametrize("missing", ["from", "to", "text"])
async def test_a_mail_without_a_required_field_is_refused_with_400(missing: str) -> None:
    async with receiving() as (fake, _):
        status, body, _ = await post(fake, {k: v for k, v in MAIL.items() if k != missing})
        assert status == 400
        assert missing in body


async def test_a_webhook_refused_with_500_is_sent_again_and_one_refused_with_406_is_not() -> None:
    async with receiving(500, 200) as (fake, receiver):
        await post(fake, MAIL)
        await until(lambda: len(fake.attempts) == 2)
        assert [attempt.status for attempt in fake.attempts] == [500, 200]
        assert receiver.bodies[0]["event-data"]["id"] == receiver.bodies[1]["event-data"]["id"]
        assert receiver.bodies[0]["signature"]["token"] != receiver.bodies[1]["signature"]["token"]
    async with receiving(406, 406, 406) as (fake, _):
        await post(fake, MAIL)
        await post(fake, MAIL)
        await until(lambda: len(fake.attempts) == 2)
        assert len({attempt.event_id for attempt in fake.attempts}) == 2


async def test_faults_strike_as_often_as_asked_and_then_the_mail_goes_through() -> None:
    async with receiving() as (fake, _):
        fake.fault("status", status=429, retry_after=7, times=2)
        answers = [await post(fake, MAIL) for _ in range(3)]
        assert [(status, retry) for status, _, retry in answers] == [(429, "7"), (429, "7"), (200, None)]
        assert len(fake.mails) == 1


async def test_accept_then_timeout_sends_the_mail_but_never_answers() -> None:
    async with receiving() as (fake, receiver):
        fake.fault("accept_then_timeout", seconds=30)
        with pytest.raises(TimeoutError):
            await post(fake, MAIL, timeout=0.2)
        assert len(fake.mails) == 1
        await until(lambda: bool(receiver.bodies))


async def test_a_bounce_is_reported_as_a_permanent_failure_and_a_duplicate_carries_the_same_event() -> None:
    async with receiving() as (fake, receiver):
        fake.fault("bounce")
        fake.fault("webhook_duplicate")
        await post(fake, MAIL)
        await until(lambda: len(receiver.bodies) == 2)
        events = [body["event-data"] for body in receiver.bodies]
        assert {event["id"] for event in events} == {events[0]["id"]}
        assert (events[0]["event"], events[0]["severity"]) == ("failed", "permanent")


async def test_the_outbox_is_readable_by_people_and_programs_and_shows_content_as_text() -> None:
    async with receiving() as (fake, _), aiohttp.ClientSession() as session:
        await post(fake, MAIL)
        async with session.get(f"{fake.url}/outbox.json") as answer:
            listed = await answer.json()
        assert [(mail["from"], mail["subject"]) for mail in listed] == [(MAIL["from"], MAIL["subject"])]
        async with session.get(f"{fake.url}/") as answer:
            assert "jo@example.org" in await answer.text()
        async with session.get(f"{fake.url}/outbox/{fake.mails[0].id}") as answer:
            assert "Hello &lt;Jo&gt;" in await answer.text()


async def test_faults_are_set_over_http_and_an_unknown_one_is_refused_by_name() -> None:
    async with receiving() as (fake, _), aiohttp.ClientSession() as session:
        async with session.post(f"{fake.url}/faults", json={"kind": "status", "status": 503}) as answer:
            assert answer.status == 201
        async with session.post(f"{fake.url}/faults", json={"kind": "meteor"}) as answer:
            assert answer.status == 400
            assert "meteor" in await answer.text()
        assert (await post(fake, MAIL))[0] == 503
