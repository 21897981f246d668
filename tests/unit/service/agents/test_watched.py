"""Requests to a model are measured and priced; while it keeps failing, nobody asks it."""

import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from ccl_service.agents.model import Usage
from ccl_service.agents.provider import Ended, ProviderFailed, Text
from ccl_service.agents.watched import WatchedModel
from ccl_service.platform.breaker import FAILURES
from ccl_service.platform.dependencies import Dependencies, Dependency
from ccl_service.platform.telemetry import Metrics


class Answer(BaseModel):
    """Nothing."""


class Says:
    """A model that says these, or fails."""

    name = "gpt-4o-mini"

    def __init__(self, *events: Text | Ended | ProviderFailed) -> None:
        self.events = events
        self.asked = 0

    async def stream(
        self, messages: Sequence[Any], *, tools: Mapping[str, Any], answer: type[BaseModel]
    ) -> AsyncGenerator[Text | Ended]:
        self.asked += 1
        for event in self.events:
            if isinstance(event, ProviderFailed):
                raise event
            yield event


@pytest.fixture
def openai() -> Dependency:
    return Dependencies(Metrics(), lambda: 0.0).add("openai")


async def ask(model: WatchedModel) -> list[Text | Ended]:
    return [event async for event in model.stream([], tools={}, answer=Answer)]


def calls(openai: Dependency, outcome: str) -> float:
    return openai.metrics.value("ccl_provider_calls_total", provider="openai", outcome=outcome)


async def test_an_answer_passes_and_its_tokens_and_cost_are_counted(openai: Dependency) -> None:
    ended = Ended((), Usage(1_000_000, 500_000))
    assert await ask(WatchedModel(Says(Text("hi"), ended), openai)) == [Text("hi"), ended]
    assert calls(openai, "answered") == 1
    metrics = openai.metrics
    assert metrics.value("ccl_provider_tokens_total", provider="openai", kind="prompt") == 1_000_000
    assert metrics.value("ccl_provider_tokens_total", provider="openai", kind="completion") == 500_000
    assert metrics.value("ccl_provider_cost_usd_total", provider="openai") == pytest.approx(0.15 + 0.30)


@pytest.mark.parametrize(
    ("reason", "failures"),
    [("timeout", 1), ("unavailable", 1), ("unreachable", 1), ("cut", 1), ("rate_limited", 0), ("unauthorised", 0)],
)
async def test_a_failure_passes_and_is_counted_by_its_reason(openai: Dependency, reason: str, failures: int) -> None:
    with pytest.raises(ProviderFailed, match=reason):
        await ask(WatchedModel(Says(Text("hi"), ProviderFailed(reason, Usage(10, 1))), openai))
    assert calls(openai, reason) == 1
    assert openai.breaker.failures == failures
    assert openai.metrics.value("ccl_provider_tokens_total", provider="openai", kind="prompt") == 10


async def test_an_answer_that_nobody_reads_to_its_end_says_nothing_about_the_model(openai: Dependency) -> None:
    model = WatchedModel(Says(Text("one"), Text("two")), openai)
    async with contextlib.aclosing(model.stream([], tools={}, answer=Answer)) as events:
        assert await anext(events) == Text("one")
    assert calls(openai, "given_up") == 1
    assert openai.breaker.failures == 0


async def test_a_model_that_keeps_failing_is_not_asked(openai: Dependency) -> None:
    says = Says(ProviderFailed("timeout"))
    for _ in range(FAILURES + 3):
        with pytest.raises(ProviderFailed):
            await ask(WatchedModel(says, openai))
    assert says.asked == FAILURES
