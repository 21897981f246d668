"""The fake's event log keeps Mailgun's paging: by time, with a next page always named, and empty at the end."""

import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from hack.fakes.mailgun import FakeMailgun, start_mailgun
from hack.fakes.outbox import Mail

AUTH = {"Authorization": aiohttp.encode_basic_auth("api", "key-1")}


@pytest.fixture
async def fake() -> AsyncIterator[FakeMailgun]:
    async with start_mailgun(api_key="key-1", signing_key="sign-1") as running:
        yield running


def mail(number: int) -> Mail:
    return Mail(
        id=f"{number}@mg.example.com",
        received_at="",
        domain="mg.example.com",
        sender="a@mg.example.com",
        to="jo@example.org",
        subject="",
        text="",
        html="",
        headers={},
        variables={"send_id": str(number)},
        tags=(),
    )


async def pages(fake: FakeMailgun, **query: Any) -> list[list[str]]:
    """The send ids of each page, the empty last one included."""
    found: list[list[str]] = []
    url, parameters = f"{fake.url}/v3/mg.example.com/events", {name: str(value) for name, value in query.items()}
    async with aiohttp.ClientSession(headers=AUTH) as session:
        while not found or found[-1]:
            async with session.get(url, params=parameters) as answer:
                assert answer.status == 200
                page = await answer.json()
            found.append([item["user-variables"]["send_id"] for item in page["items"]])
            url, parameters = page["paging"]["next"], {}
    return found


async def test_pages_follow_each_other_by_time_in_either_direction(fake: FakeMailgun) -> None:
    for number in range(5):
        fake.note_event(mail(number), "accepted")
    begin, end = time.time() - 60, time.time() + 60
    assert await pages(fake, begin=begin, end=end, limit=2) == [["0", "1"], ["2", "3"], ["4"], []]
    assert await pages(fake, begin=end, end=begin, limit=3) == [["4", "3", "2"], ["1", "0"], []]


async def test_only_the_kinds_and_the_time_asked_for_are_listed(fake: FakeMailgun) -> None:
    for number, kind in enumerate(("accepted", "opened", "delivered", "clicked")):
        fake.note_event(mail(number), kind)
    begin, end = time.time() - 60, time.time() + 60
    assert await pages(fake, begin=begin, end=end, event="accepted OR delivered") == [["0", "2"], []]
    assert await pages(fake, begin=begin - 60, end=begin) == [[]]


async def test_a_late_event_is_listed_at_its_own_time(fake: FakeMailgun) -> None:
    fake.note_event(mail(0), "accepted", late=600)
    fake.note_event(mail(1), "accepted")
    begin, end = time.time() - 3600, time.time() + 60
    assert await pages(fake, begin=begin, end=end) == [["1"], []]
    fake.log.shift(601)
    assert await pages(fake, begin=begin, end=end) == [["0", "1"], []]


@pytest.mark.parametrize("query", [{"begin": "x"}, {"limit": "301"}, {"begin": "1"}])
async def test_a_wrong_question_is_400_and_a_wrong_key_401(fake: FakeMailgun, query: dict[str, str]) -> None:
    url = f"{fake.url}/v3/mg.example.com/events"
    async with aiohttp.ClientSession() as session:
        async with session.get(url, params=query, headers=AUTH) as answer:
            assert answer.status == 400
        async with session.get(url, params=query) as answer:
            assert answer.status == 401
