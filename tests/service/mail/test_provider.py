"""What each behaviour of Mailgun is taken for: above all, when a mail may be asked for again and when not."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import aiohttp
import pytest

from ccl_service.mail import provider
from ccl_service.mail.model import Accepted, Letter, NoAnswer, NotTaken, RefusesUs, Rejected
from ccl_service.mail.provider import Mailgun, open_session
from hack.fakes.mailgun import FakeMailgun
from tests.service.mail.conftest import API_KEY

LETTER = Letter(
    send_id=UUID(int=7),
    sender="Cathy <cathy@mg.example.com>",
    to="ann@example.com",
    subject="Hello, Ann",
    text="text",
    html="<p>html</p>",
    unsubscribe="https://loans.example.com/api/u/x",
    tag="first-contact",
)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with open_session() as opened:
        yield opened


def client(session: aiohttp.ClientSession, url: str, key: str = API_KEY) -> Mailgun:
    return Mailgun(session, base_url=url, domain="mg.example.com", api_key=key)


async def test_a_letter_arrives_whole_with_one_click_headers_and_our_id(session: Any, mailgun: FakeMailgun) -> None:
    answer = await client(session, mailgun.url).send(LETTER)
    (mail,) = mailgun.mails
    assert answer == Accepted(mail.id.strip("<>"))
    assert (mail.to, mail.sender, mail.subject, mail.text, mail.html) == (
        LETTER.to,
        LETTER.sender,
        LETTER.subject,
        LETTER.text,
        LETTER.html,
    )
    assert mail.variables == {"send_id": str(LETTER.send_id)}
    assert mail.headers == {
        "List-Unsubscribe": "<https://loans.example.com/api/u/x>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


async def test_a_base_url_with_the_version_means_the_same(session: Any, mailgun: FakeMailgun) -> None:
    assert isinstance(await client(session, f"{mailgun.url}/v3/").send(LETTER), Accepted)


async def test_a_wrong_key_is_our_fault_not_the_letter_s(session: Any, mailgun: FakeMailgun) -> None:
    assert await client(session, mailgun.url, "wrong").send(LETTER) == RefusesUs("http:401")


@pytest.mark.parametrize("status", [402, 404])
async def test_an_unpaid_account_or_an_unknown_domain_is_our_fault_too(
    session: Any, mailgun: FakeMailgun, status: int
) -> None:
    mailgun.fault("status", status=status)
    assert await client(session, mailgun.url).send(LETTER) == RefusesUs(f"http:{status}")


async def test_too_many_requests_is_not_taken_and_tells_the_delay(session: Any, mailgun: FakeMailgun) -> None:
    mailgun.fault("status", status=429, retry_after=30)
    assert await client(session, mailgun.url).send(LETTER) == NotTaken("http:429", timedelta(seconds=30))


async def test_a_bad_request_is_refused_for_good(session: Any, mailgun: FakeMailgun) -> None:
    mailgun.fault("status", status=400)
    assert await client(session, mailgun.url).send(LETTER) == Rejected("http:400")


async def test_a_server_error_is_no_answer_because_the_mail_may_be_out(session: Any, mailgun: FakeMailgun) -> None:
    mailgun.fault("accept_then_status", status=500)
    assert await client(session, mailgun.url).send(LETTER) == NoAnswer("http:500")
    assert len(mailgun.mails) == 1


async def test_a_time_out_is_no_answer_because_the_mail_may_be_out(
    session: Any, mailgun: FakeMailgun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "TIMEOUT", timedelta(milliseconds=300))
    mailgun.fault("accept_then_timeout", seconds=5)
    answer = await client(session, mailgun.url).send(LETTER)
    assert isinstance(answer, NoAnswer)
    assert len(mailgun.mails) == 1


async def test_a_refused_connection_is_not_taken(session: Any, unused_tcp_port: int) -> None:
    answer = await client(session, f"http://127.0.0.1:{unused_tcp_port}").send(LETTER)
    assert answer == NotTaken("connect:ClientConnectorError")


async def test_a_connection_that_the_provider_closes_meanwhile_costs_no_answer(
    session: Any, mailgun: FakeMailgun
) -> None:
    mailgun.fault("drop_kept", times=2)
    mailgun_client = client(session, mailgun.url)
    answers = [await mailgun_client.send(LETTER) for _ in range(3)]
    assert [type(answer) for answer in answers] == [Accepted] * 3
    assert len(mailgun.mails) == 3
