"""Calls of the provider are measured; while it keeps failing, sends wait."""

from datetime import timedelta
from uuid import uuid4

import pytest

from ccl_service.mail.jobs import LEASE, Sender
from ccl_service.mail.model import Accepted, Answer, NoAnswer, NotTaken, RefusesUs, Rejected
from ccl_service.mail.watched import WatchedProvider
from ccl_service.platform.breaker import FAILURES, FIRST_REST
from ccl_service.platform.dependencies import Dependencies, Dependency
from ccl_service.platform.telemetry import Metrics
from tests.service.mail.desk import POLICY, Desk, Says


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def mailgun(time: Time) -> Dependency:
    return Dependencies(Metrics(), time).add("mailgun")


async def work(desk: Desk, says: Says, mailgun: Dependency) -> None:
    """Work the due send once, as the process does."""
    provider = WatchedProvider(says, mailgun)
    sender = Sender(
        desk.db,
        desk.queue,
        provider,
        policy=POLICY,
        keys=desk.keys,
        jitter=lambda: 0.0,
        count=mailgun.metrics.count,
        resting=provider.resting,
    )
    await desk.due_now()
    (claimed,) = await desk.queue.claim(uuid4(), LEASE, 1)
    await sender.handle(claimed)


@pytest.mark.parametrize(
    ("answer", "outcome", "failures"),
    [
        (Accepted("1@mg.example.com"), "accepted", 0),
        (Rejected("http:400"), "rejected", 0),
        (RefusesUs("http:401"), "refused_us", 0),
        (NoAnswer("http:500"), "no_answer", 1),
        (NotTaken("connect:ClientConnectorError"), "not_taken", 1),
        (NotTaken("http:429", timedelta(seconds=5)), "limited", 0),
    ],
)
async def test_every_answer_is_counted_and_only_the_provider_s_own_failures_speak_against_it(
    desk: Desk, mailgun: Dependency, answer: Answer, outcome: str, failures: int
) -> None:
    await work(desk, Says(answer), mailgun)
    metrics = mailgun.metrics
    assert metrics.value("ccl_provider_calls_total", provider="mailgun", outcome=outcome) == 1
    assert metrics.value("ccl_provider_call_seconds_count", provider="mailgun") == 1
    assert mailgun.breaker.failures == failures


async def test_while_calls_are_held_back_a_send_waits_and_burns_no_attempt(
    desk: Desk, mailgun: Dependency, time: Time
) -> None:
    for _ in range(FAILURES):
        mailgun.breaker.failed(time.now)
    says = Says(Accepted("1@mg.example.com"))
    await work(desk, says, mailgun)
    send = await desk.send()
    assert (send["state"], send["held"], send["attempts"]) == ("queued", "provider_down", 0)
    assert timedelta(0) < send["wait"] <= FIRST_REST
    assert says.letters == []
    assert mailgun.metrics.value("ccl_breaker_open", provider="mailgun") == 1
    time.now += FIRST_REST.total_seconds()
    await work(desk, says, mailgun)
    assert len(says.letters) == 1
    assert mailgun.metrics.value("ccl_breaker_open", provider="mailgun") == 0


async def test_what_becomes_of_a_send_is_counted(desk: Desk, mailgun: Dependency) -> None:
    await work(desk, Says(Accepted("1@mg.example.com")), mailgun)
    assert mailgun.metrics.value("ccl_sends_total", state="accepted") == 1
