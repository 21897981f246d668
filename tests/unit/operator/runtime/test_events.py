"""Events are few: a rate per object, silence after what was just said, and a memory that does not grow. Nobody waits
for them."""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from ccl_operator.actions import Event, Manifest, Resource
from ccl_operator.runtime import events
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import NamespaceTerminating, Unreachable
from ccl_operator.runtime.events import BURST, NOTE_MAX, RATE, SILENCE, WAITING, Events
from ccl_operator.runtime.metrics import Metrics
from tests.unit.operator.runtime.clock import Clock

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Recorder:
    """A client that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.posted: list[Manifest] = []
        self.error: Exception | None = None

    async def create(self, _: Resource, namespace: str, manifest: Manifest) -> Manifest:
        assert namespace == manifest["metadata"]["namespace"]
        if self.error is not None:
            raise self.error
        self.posted.append(manifest)
        return manifest


class Posting:
    """Events with everything they are made with."""

    def __init__(self) -> None:
        self.client, self.clock, self.metrics = Recorder(), Clock(), Metrics()
        numbers = map(str, itertools.count())
        self.events = Events(
            cast(Client, self.client),
            self.metrics,
            "operator-1",
            clock=self.clock,
            now=lambda: NOW,
            unique=lambda: next(numbers),
        )

    def post(self, message: str, uid: str = "1") -> None:
        owner = {"metadata": {"namespace": "loans", "name": "ccl", "uid": uid}}
        self.events.post(owner, Event("Warning", "Why", message))

    async def sent(self) -> list[Manifest]:
        """Everything that was posted, up to the end."""
        self.events.close()
        async with asyncio.timeout(30):
            await self.events.run()
        return self.client.posted

    async def notes(self) -> list[str]:
        """What it says."""
        return [each["note"] for each in await self.sent()]

    def dropped(self) -> Any:
        return self.metrics.registry.get_sample_value("ccl_operator_events_dropped_total")


async def test_the_same_words_about_the_same_object_are_not_repeated_for_a_minute() -> None:
    posting = Posting()
    posting.post("a")
    posting.clock.now = SILENCE - 1
    posting.post("a")
    posting.post("a", uid="2")
    posting.post("b")
    assert await posting.notes() == ["a", "a", "b"]
    assert posting.dropped() == 1
    posting.clock.now = SILENCE
    posting.post("a")
    assert await posting.notes() == ["a", "a", "b", "a"]


async def test_an_object_has_its_burst_and_then_one_in_five_minutes_and_others_have_theirs() -> None:
    posting = Posting()
    for number in range(100):
        posting.post(f"{number}")
    assert len(await posting.sent()) == BURST
    posting.post("other", uid="2")
    assert len(await posting.sent()) == BURST + 1
    posting.clock.now = 1 / RATE
    for number in range(100, 200):
        posting.post(f"{number}")
    assert len(await posting.sent()) == BURST + 2
    assert posting.dropped() == 100 - BURST + 99


async def test_what_was_dropped_for_the_rate_is_not_taken_for_said() -> None:
    posting = Posting()
    for number in range(int(BURST)):
        posting.post(f"{number}")
    posting.clock.now = 1 / RATE - 1
    posting.post("late")
    posting.clock.now = 1 / RATE
    posting.post("late")
    assert (await posting.notes())[-1] == "late"


async def test_the_memory_is_bounded_and_forgets_what_was_silent_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "REMEMBERED", 2)
    posting = Posting()
    for number in range(int(BURST)):
        posting.post(f"{number}", uid="loud")
    for uid in ("2", "loud", "3", "loud", "4", "loud"):
        posting.post(f"to {uid}", uid=uid)
    assert {each["regarding"]["uid"] for each in (await posting.sent())[int(BURST) :]} == {"2", "3", "4"}


@pytest.mark.parametrize("error", [Unreachable("create events", "no"), NamespaceTerminating("create events", "no")])
async def test_an_event_that_cannot_be_posted_is_counted_and_hinders_nothing(error: Exception) -> None:
    posting = Posting()
    posting.client.error = error
    posting.post("a")
    assert await posting.sent() == []
    assert posting.dropped() == 1


async def test_those_that_cannot_be_sent_yet_wait_up_to_a_limit_and_all_that_wait_are_sent() -> None:
    posting = Posting()
    for number in range(WAITING + 3):
        posting.post("a", uid=f"{number}")
    assert (len(posting.client.posted), posting.dropped()) == (0, 3)
    assert len(await posting.sent()) == WAITING


async def test_an_event_has_the_form_that_the_api_wants() -> None:
    posting = Posting()
    posting.post("x" * (NOTE_MAX + 1))
    (event,) = await posting.sent()
    assert event["note"] == "x" * NOTE_MAX
    assert event["eventTime"] == "2030-01-01T12:00:00.000000Z"
    assert event["regarding"]["uid"] == "1"
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "Why", "Reconcile")
    assert (event["reportingController"], event["reportingInstance"]) == (
        "ccl.completecarloans.com/ccl-operator",
        "operator-1",
    )
