"""A message whose whole intent is to opt out takes effect at once, on every channel, and is confirmed once."""

import asyncio

import pytest

from ccl_service.agents import stand_in
from ccl_service.client import Problem, converse
from ccl_service.leads.model import identity
from ccl_service.main import open_service
from ccl_service.platform.config import Settings
from ccl_service.platform.http import METRICS
from ccl_service.platform.lifecycle import working
from ccl_service.platform.phase import Role
from hack.fakes.script import Rule
from tests.service.chat.system import System, visiting
from tests.service.polling import eventually


async def test_opting_out_suppresses_every_known_address_and_number_before_any_answer_is_made(idle: System) -> None:
    lead_id, token = await idle.lead(email="dana@example.org", phone="+12175550150")
    async with visiting(idle.url, return_token=token) as visit:
        async with visit.http.post("api/chat", json={"text": "Please stop."}) as answer:
            assert answer.status == 202
        suppressed = await idle.db.fetch("SELECT kind, reason FROM suppressions ORDER BY kind")
    assert [(row["kind"], row["reason"]) for row in suppressed] == [("email", "opt_out"), ("phone", "opt_out")]
    assert await idle.state(lead_id) == "opted_out"
    assert "lead.opted_out" in await idle.kinds(lead_id)


async def test_opting_out_is_confirmed_once_and_closes_the_conversation(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        assert await chat.say("UNSUBSCRIBE") == stand_in.OPTED_OUT
        assert chat.closed
        with pytest.raises(Problem) as refused:
            await chat.say("stop")
        assert refused.value.code == "CHAT_001"
    assert system.openai.requests == []
    assert (await system.kinds(lead_id)).count("chat.closed") == 1
    assert await system.state(lead_id) == "opted_out"


async def test_writing_stop_twice_in_a_row_is_confirmed_once(settings: Settings, idle: System) -> None:
    _, token = await idle.lead()
    async with visiting(idle.url, return_token=token) as visit:
        for _ in range(2):
            async with visit.http.post("api/chat", json={"text": "stop"}) as answer:
                assert answer.status == 202
    assert idle.app[METRICS].value("ccl_opt_outs_total", way="chat") == 1
    async with open_service(settings, role=Role.JOBS) as back, working(back.workers, back.phase.stop, back.metrics):
        await eventually(lambda: idle.db.fetchval("SELECT count(*) = 2 FROM turns WHERE state = 'done'"))
    said = await idle.db.fetch("SELECT string_agg(text, ' ' ORDER BY seq) AS text FROM turn_segments GROUP BY turn_id")
    assert [row["text"] for row in said] == [stand_in.OPTED_OUT]


async def test_a_visitor_without_a_lead_is_suppressed_by_the_number_they_gave(system: System) -> None:
    lead_id, _ = await system.lead(phone="+12175550151", email="dana@example.org")
    async with converse(system.url) as chat:
        await chat.say("call 217-555-0151")
        await chat.say("stop")
    suppressed = await system.one("SELECT kind, value_hash FROM suppressions")
    assert suppressed["kind"] == "phone"
    assert suppressed["value_hash"] == identity("phone", "+12175550151").value_hash
    assert await system.state(lead_id) == "contacted", "who is writing is not known to be this person"


async def test_an_answer_that_is_being_spoken_ends_when_the_visitor_says_stop(system: System) -> None:
    reply = "First sentence. " + " ".join(f"Sentence number {n}." for n in range(40))
    system.openai.script(Rule(match="talk", reply={"action": "continue", "reply": reply}))
    system.openai.fault("slow", seconds=0.05)
    async with converse(system.url) as chat:
        heard: list[str] = []
        speaking = asyncio.create_task(chat.say("talk", heard.append))

        async def begun() -> bool:
            return bool(heard)

        await eventually(begun)
        assert await chat.say("stop") == stand_in.OPTED_OUT
        await speaking
    assert 1 <= len(heard) < 40
    state = await system.one("SELECT state FROM conversations")
    assert state["state"] == "closed"


async def test_a_message_that_only_mentions_such_a_word_is_answered(system: System) -> None:
    lead_id, token = await system.lead()
    async with converse(system.url, return_token=token) as chat:
        await chat.say("should I cancel my other loan?")
        assert not chat.closed
    assert await system.state(lead_id) == "engaged"
