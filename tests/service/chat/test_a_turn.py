"""A visitor says something and gets an answer; the lead's timeline tells it."""

import json
from uuid import UUID

import pytest

from ccl_service.agents import stand_in
from ccl_service.agents.realtime_chat import GREETING
from ccl_service.client import Problem, converse
from hack.fakes.script import Rule
from tests.service.chat.system import System


async def test_the_first_message_discloses_the_ai_and_is_kept(system: System) -> None:
    async with converse(system.url) as chat:
        assert "AI" in chat.greeting
        kept = await system.one("SELECT speaker, text FROM messages")
        assert (kept["speaker"], kept["text"]) == ("agent", chat.greeting)


async def test_what_the_visitor_saw_is_what_is_stored(system: System) -> None:
    seen: list[str] = []
    async with converse(system.url) as chat:
        answer = await chat.say("my credit is bad", seen.append)
    assert len(seen) == 3
    stored = await system.db.fetch("SELECT seq, text FROM turn_segments ORDER BY seq")
    assert [(row["seq"], row["text"]) for row in stored] == list(enumerate(seen, 1))
    message = await system.one("SELECT text FROM messages WHERE speaker = 'agent' AND turn = 1")
    assert message["text"] == answer == " ".join(seen)


async def test_control_characters_that_a_model_writes_reach_nobody(system: System) -> None:
    system.openai.script(Rule(match="speak", reply={"action": "continue", "reply": "He\u0000llo.\u001b[2J Well?"}))
    async with converse(system.url) as chat:
        assert await chat.say("please speak") == "Hello.[2J Well?"
    run = await system.one("SELECT outcome FROM agent_runs")
    assert run["outcome"] == "answered"


async def test_the_answer_leaves_an_account_with_model_tokens_and_cost(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("hello")
    run = await system.one("SELECT * FROM agent_runs")
    assert (run["agent"], run["model"], run["outcome"]) == ("RealtimeChat", "gpt-4o-mini", "answered")
    assert run["lead_id"] == lead_id
    assert run["prompt_tokens"] > 0
    assert run["cost_micro_usd"] > 0
    assert run["finished_at"] >= run["started_at"]


async def test_a_lead_that_answers_is_engaged_and_its_timeline_tells_the_chat_without_its_words(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("my secret wish is a red truck")
    assert await system.state(lead_id) == "engaged"
    kinds = await system.kinds(lead_id)
    assert [kind for kind in kinds if kind.startswith("chat.")] == ["chat.started", "chat.message", "chat.reply"]
    events = await system.db.fetch("SELECT data FROM lead_events")
    assert "truck" not in json.dumps([row["data"] for row in events])


async def test_a_lead_that_comes_back_before_the_provider_confirmed_the_mail_is_engaged_too(system: System) -> None:
    lead_id, token = await system.lead(contacted=False)
    async with converse(system.url, return_token=token) as chat:
        assert await system.state(lead_id) == "contacted"
        await chat.say("hello")
    assert await system.state(lead_id) == "engaged"


async def test_a_number_given_in_the_chat_is_kept_on_the_lead_with_the_proof_of_consent(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("hello")
        answer = await chat.say("sure, (217) 555-0142")
    assert "noted your number" in answer
    lead = await system.one("SELECT phone, consent FROM leads WHERE id = $1", lead_id)
    assert lead["phone"] == "+12175550142"
    assert "What phone number may we call you on?" in json.loads(lead["consent"])["text"]
    assert "lead.phone_given" in await system.kinds(lead_id)


async def test_the_model_is_given_the_conversation_so_far_and_nothing_about_the_person(system: System) -> None:
    lead_id, token = await system.lead(phone="+12175550143")
    async with converse(system.url, return_token=token) as chat:
        await chat.say("hello")
        await chat.say("and then?")
    request = system.openai.requests[-1]
    roles = [message["role"] for message in request["messages"]]
    assert roles == ["system", "assistant", "user", "assistant", "user"]
    assert request["messages"][1]["content"] == GREETING
    whole = json.dumps(request)
    assert "Dana" not in whole
    assert "5550143" not in whole
    assert str(lead_id) not in whole


async def test_wishing_for_a_person_hands_over_and_the_timeline_tells_it(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        answer = await chat.say("let me talk to a person")
        assert chat.action == "handoff"
        assert stand_in.ASK_PHONE in answer
        await chat.say("and what about my credit?")
    assert (await system.one("SELECT state FROM conversations"))["state"] == "handed_off"
    assert (await system.kinds(lead_id)).count("chat.handoff") == 1


async def test_being_asked_whether_it_is_human_is_answered_truthfully_without_the_model(system: System) -> None:
    async with converse(system.url) as chat:
        assert await chat.say("are you a human?") == stand_in.I_AM_AN_AI
    assert system.openai.requests == []


async def test_a_promise_of_the_model_never_reaches_the_visitor(system: System) -> None:
    system.openai.script(Rule(match="please", reply={"action": "continue", "reply": "Sure. You are approved!"}))
    async with converse(system.url) as chat:
        answer = await chat.say("please approve me")
    assert "You are approved" not in answer
    assert "cannot promise" in answer
    assert (await system.one("SELECT outcome FROM agent_runs"))["outcome"] == "guarded"


@pytest.mark.parametrize(("fault", "reason"), [("status", "unavailable"), ("cut", "unreachable")])
async def test_a_failing_provider_does_not_keep_the_visitor_from_an_answer(
    system: System, fault: str, reason: str
) -> None:
    system.openai.fault(fault, after_chunks=4)
    async with converse(system.url) as chat:
        assert stand_in.ASK_PHONE in await chat.say("my credit is bad")
    run = await system.one("SELECT outcome, error FROM agent_runs")
    assert (run["outcome"], run["error"]) == ("fell_back", reason)


async def test_ssn_and_card_numbers_reach_neither_the_database_nor_the_model(system: System) -> None:
    async with converse(system.url) as chat:
        await chat.say("my ssn is 123-45-6789 and my card 4111 1111 1111 1111, what about credit?")
    kept = await system.one("SELECT text FROM messages WHERE speaker = 'visitor'")
    assert kept["text"].count("[redacted]") == 2
    whole = json.dumps(system.openai.requests)
    assert "6789" not in whole
    assert "1111" not in whole


async def test_a_visitor_without_a_lead_becomes_one_with_the_number(system: System) -> None:
    async with converse(system.url) as chat:
        await chat.say("hello")
        await chat.say("call 217-555-0147")
        conversation = UUID(chat.conversation_id)
    lead = await system.one("SELECT id, source, phone, consent FROM leads")
    assert (lead["source"], lead["phone"]) == ("chat", "+12175550147")
    assert lead["consent"] is not None
    bound = await system.one("SELECT lead_id, phone_given FROM conversations WHERE id = $1", conversation)
    assert (bound["lead_id"], bound["phone_given"]) == (lead["id"], True)
    assert (await system.kinds(lead["id"]))[-1] == "chat.reply"


async def test_typing_a_known_persons_number_binds_nobody_to_that_person(system: System) -> None:
    lead_id, _ = await system.lead(phone="+12175550148")
    async with converse(system.url) as chat:
        await chat.say("hello")
        await chat.say("call 217-555-0148")
        await chat.say("stop")
    assert (await system.one("SELECT lead_id FROM conversations"))["lead_id"] is None
    assert await system.state(lead_id) == "contacted"


async def test_good_bye_closes_the_conversation_and_a_further_message_is_refused(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("thank you, bye")
        assert chat.closed
        with pytest.raises(Problem) as refused:
            await chat.say("one more thing")
        assert refused.value.code == "CHAT_001"
    assert (await system.kinds(lead_id))[-2:] == ["chat.reply", "chat.closed"]
