"""Cathy against a provider that speaks the real protocol."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from pydantic import SecretStr

from ccl_contract.chat import ChatAction
from ccl_service.agents import stand_in
from ccl_service.agents.guardrail import INSTEAD, Violation
from ccl_service.agents.model import Finished, Line, Outcome, Run, Sentence, Situation, Speaker, ToolResult, cost_micros
from ccl_service.agents.openai_chat import ChatModel, ModelSettings
from ccl_service.agents.realtime_chat import GREETING, RealtimeChat
from hack.fakes.openai import FakeOpenAi, start_openai
from hack.fakes.script import Rule, ToolUse


@dataclass
class Recorded:
    """A toolbox that remembers what was asked of it."""

    phones: list[tuple[str, bool]] = field(default_factory=list)
    handoffs: list[str] = field(default_factory=list)

    async def record_phone(self, phone: str, *, consent: bool) -> ToolResult:
        self.phones.append((phone, consent))
        return ToolResult(True, "recorded")

    async def request_handoff(self, reason: str) -> ToolResult:
        self.handoffs.append(reason)
        return ToolResult(True, "recorded")


@dataclass
class Answer:
    sentences: list[str]
    action: ChatAction
    run: Run
    tools: Recorded

    @property
    def text(self) -> str:
        return " ".join(self.sentences)


@contextlib.asynccontextmanager
async def cathy(*, seconds: float = 5.0) -> AsyncIterator[tuple[RealtimeChat, FakeOpenAi]]:
    async with start_openai(api_key="sk-1") as fake:
        model = ChatModel(ModelSettings(SecretStr("sk-1"), fake.url, "gpt-4o-mini", seconds, seconds))
        try:
            yield RealtimeChat(model), fake
        finally:
            await model.close()


async def ask(agent: RealtimeChat, *texts: str, said: int = 0) -> Answer:
    history = (Line(Speaker.AGENT, GREETING), *(Line(Speaker.VISITOR, text) for text in texts))
    tools = Recorded()
    events = [event async for event in agent.answer(Situation(history, phone_known=False, said=said), tools)]
    sentences = [event.text for event in events if isinstance(event, Sentence)]
    assert isinstance(events[-1], Finished)
    assert len(sentences) == len(events) - 1
    return Answer(sentences, events[-1].action, events[-1].run, tools)


async def test_the_models_answer_comes_sentence_by_sentence_with_its_account() -> None:
    async with cathy() as (agent, fake):
        answer = await ask(agent, "my credit is bad")
        assert len(answer.sentences) == 3
        assert (answer.run.outcome, answer.run.model) == (Outcome.ANSWERED, "gpt-4o-mini")
        assert answer.run.usage.prompt_tokens > 0
        assert not answer.run.usage.estimated
        request = fake.requests[0]
        assert (request["stream"], request["store"]) == (True, False)
        assert request["stream_options"] == {"include_usage": True}
        assert {tool["function"]["name"] for tool in request["tools"]} == {"record_phone", "request_handoff"}
        assert all(tool["function"]["strict"] for tool in request["tools"])


async def test_a_tool_call_is_carried_out_and_its_result_goes_back_to_the_model() -> None:
    async with cathy() as (agent, fake):
        answer = await ask(agent, "sure, 217-555-0142")
        assert answer.tools.phones == [("217-555-0142", True)]
        assert "noted your number" in answer.text
        assert answer.run.tools == ("record_phone",)
        assert [message["role"] for message in fake.requests[1]["messages"][-3:]] == ["user", "assistant", "tool"]


async def test_a_hand_off_that_was_asked_for_stands_whatever_the_model_says_next() -> None:
    async with cathy() as (agent, fake):
        tool = ToolUse(name="request_handoff", arguments={"reason": "upset"})
        fake.script(Rule(match="awful", tool=tool, reply={"action": "continue", "reply": "I am sorry."}))
        answer = await ask(agent, "this is awful")
        assert answer.action is ChatAction.HANDOFF
        assert answer.tools.handoffs == ["upset"]


@pytest.mark.parametrize(
    "tool",
    [
        ToolUse(name="record_phone", arguments={"phone": 5}),
        ToolUse(name="record_phone", arguments={"phone": "217-555-0142", "consent": True, "lead": "x"}),
    ],
)
async def test_arguments_outside_the_schema_reach_no_tool(tool: ToolUse) -> None:
    async with cathy() as (agent, fake):
        fake.script(Rule(match="x", tool=tool, reply={"action": "continue", "reply": "Hm."}))
        answer = await ask(agent, "x")
        assert answer.tools == Recorded()
        assert "not valid" in fake.requests[1]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("reply", "violation"),
    [
        ("Good news. You are approved! Come by today.", Violation.PROMISES_APPROVAL),
        ("Good news. Your rate is 3.9% APR. Come by today.", Violation.PROMISES_RATE),
        ("Good question. I am a real person. Come by today.", Violation.DENIES_AI),
    ],
)
async def test_a_sentence_that_breaks_a_rule_is_replaced_and_ends_the_answer(reply: str, violation: Violation) -> None:
    async with cathy() as (agent, fake):
        fake.script(Rule(match="x", reply={"action": "continue", "reply": reply}))
        answer = await ask(agent, "x")
        assert answer.sentences[1:] == [INSTEAD[violation]]
        assert (answer.run.outcome, answer.run.error) == (Outcome.GUARDED, violation)


async def test_whether_it_is_human_is_answered_by_a_rule_without_asking_the_model() -> None:
    async with cathy() as (agent, fake):
        answer = await ask(agent, "Are you a human?")
        assert answer.text == stand_in.I_AM_AN_AI
        assert answer.run == Run(Outcome.RULE)
        assert fake.requests == []


async def test_without_a_model_the_stand_in_answers() -> None:
    answer = await ask(RealtimeChat(None), "my credit is bad")
    assert answer.run == Run(Outcome.STAND_IN)
    assert answer.text.endswith(stand_in.ASK_PHONE)


@pytest.mark.parametrize(
    ("status", "reason"), [(401, "unauthorised"), (429, "rate_limited"), (500, "unavailable"), (503, "unavailable")]
)
async def test_a_provider_that_refuses_is_replaced_by_the_stand_in_in_the_same_turn(status: int, reason: str) -> None:
    async with cathy() as (agent, fake):
        fake.fault("status", status=status)
        answer = await ask(agent, "my credit is bad")
        assert (answer.run.outcome, answer.run.error) == (Outcome.FELL_BACK, reason)
        assert answer.text.endswith(stand_in.ASK_PHONE)
        assert fake.requests == [], "the SDK must not retry by itself"


async def test_a_stream_that_is_cut_keeps_what_was_said_and_ends_by_rule_with_estimated_usage() -> None:
    async with cathy() as (agent, fake):
        whole = await ask(agent, "my credit is bad")
        fake.fault("cut", after_chunks=25)
        answer = await ask(agent, "my credit is bad")
        assert answer.sentences[0] == whole.sentences[0]
        assert answer.sentences[1] == stand_in.INTERRUPTED
        assert answer.run.outcome is Outcome.FELL_BACK
        assert answer.run.usage.estimated
        assert answer.run.usage.completion_tokens > 0


@pytest.mark.parametrize("kind", ["hang", "slow"])
async def test_a_provider_that_is_too_slow_is_given_up(kind: str) -> None:
    async with cathy(seconds=0.2) as (agent, fake):
        fake.fault(kind, seconds=30)
        answer = await ask(agent, "hello")
        assert (answer.run.outcome, answer.run.error) == (Outcome.FELL_BACK, "timeout")


async def test_a_slow_consumer_is_not_cancelled_in_place_of_the_request() -> None:
    async with cathy(seconds=0.2) as (agent, fake):
        fake.script(Rule(match="x", reply={"action": "continue", "reply": "One. Two. Three. Four."}))
        fake.fault("slow", seconds=0.02)
        situation = Situation((Line(Speaker.VISITOR, "x"),), phone_known=False)
        events = []
        async for event in agent.answer(situation, Recorded()):
            events.append(event)
            await asyncio.sleep(0.15)  # the consumer's own work, not a wait for something
        assert isinstance(events[-1], Finished)


async def test_a_provider_that_cannot_be_reached_is_given_up() -> None:
    model = ChatModel(ModelSettings(SecretStr("sk-1"), "http://127.0.0.1:1/v1", "gpt-4o-mini"))
    answer = await ask(RealtimeChat(model), "hello")
    assert (answer.run.outcome, answer.run.error) == (Outcome.FELL_BACK, "unreachable")
    await model.close()


async def test_a_model_that_never_stops_calling_tools_is_given_up() -> None:
    async with cathy() as (agent, fake):
        tool = ToolUse(name="request_handoff", arguments={"reason": "x"}, again=True)
        fake.script(Rule(match="x", tool=tool, reply={"action": "continue", "reply": "never said"}))
        answer = await ask(agent, "x")
        assert (answer.run.outcome, answer.run.error) == (Outcome.FELL_BACK, "bad_answer")
        assert len(fake.requests) == 3


async def test_an_answer_outside_the_schema_is_given_up() -> None:
    async with cathy() as (agent, fake):
        fake.rules = (Rule(match="", reply={"action": "dance", "reply": "x"}),)
        answer = await ask(agent, "hello")
        assert (answer.run.outcome, answer.run.error) == (Outcome.FELL_BACK, "bad_answer")


async def test_an_answer_that_another_process_began_is_ended_by_rule() -> None:
    async with cathy() as (agent, fake):
        answer = await ask(agent, "my credit is bad", said=1)
        assert answer.sentences[0] == stand_in.INTERRUPTED
        assert fake.requests == []


async def test_history_is_bounded() -> None:
    async with cathy() as (agent, fake):
        await ask(agent, *(f"line {n} " + "x" * 5000 for n in range(50)))
        messages = fake.requests[0]["messages"]
        assert len(messages) == 21
        assert max(len(message["content"]) for message in messages[1:]) == 1000
        assert messages[-1]["content"].startswith("line 49")


def test_cost_is_known_for_listed_models_only() -> None:
    from ccl_service.agents.model import Usage

    assert cost_micros("gpt-4o-mini", Usage(1_000_000, 1_000_000)) == 750_000
    assert cost_micros("gpt-4o-mini", Usage(1, 0)) == 1
    assert cost_micros("my-own", Usage(1, 1)) is None
    assert cost_micros(None, Usage()) is None
