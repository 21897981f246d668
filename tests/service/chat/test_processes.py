"""Web and jobs are processes of their own, and processes die."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

from aiohttp.test_utils import TestClient, TestServer

from ccl_service.agents import stand_in
from ccl_service.client import converse
from ccl_service.main import open_service
from ccl_service.platform.config import Settings
from ccl_service.platform.lifecycle import working
from ccl_service.platform.phase import Role
from tests.service.chat.system import System, visiting


async def test_a_web_process_stores_and_reads_while_a_jobs_process_answers(settings: Settings, idle: System) -> None:
    async with open_service(settings, role=Role.WEB) as front, open_service(settings, role=Role.JOBS) as back:
        assert "chat-turns" not in {worker.name for worker in front.workers}
        async with (
            working(front.workers, front.phase.stop, front.metrics),
            working(back.workers, back.phase.stop, back.metrics),
            converse(idle.url) as chat,
        ):
            assert stand_in.ASK_PHONE in await chat.say("hello")


async def test_without_a_worker_a_turn_is_kept_and_not_claimed(idle: System) -> None:
    async with visiting(idle.url) as visit, visit.http.post("api/chat", json={"text": "hi"}) as answer:
        assert answer.status == 202
    turn = await idle.one("SELECT state, claims FROM turns")
    assert (turn["state"], turn["claims"]) == ("queued", 0)


async def test_messages_sent_at_once_are_answered_in_their_order(system: System) -> None:
    async with converse(system.url) as chat:
        answers = await asyncio.gather(*(chat.say(f"message {n}") for n in range(4)))
    assert all(answers)
    turns = await system.db.fetch("SELECT turn, finished_at FROM turns ORDER BY finished_at")
    assert [row["turn"] for row in turns] == [1, 2, 3, 4]
    roles = [message["role"] for message in system.openai.requests[-1]["messages"]]
    assert roles == ["system", "assistant", *["user", "assistant"] * 3, "user"]


async def test_an_answer_cut_off_by_a_dead_process_goes_on_after_what_the_visitor_saw(
    settings: Settings, idle: System
) -> None:
    async with visiting(idle.url) as visit:
        async with visit.http.post("api/chat", json={"text": "my credit is bad"}) as answer:
            turn = UUID((await answer.json())["turn_id"])
        # what a killed process leaves behind: a claim whose lease runs out, and a sentence that was shown
        await idle.db.execute(
            "UPDATE turns SET claim_id = $1, claims = 1, lease_until = now() - $2::interval", uuid4(), timedelta(1)
        )
        await idle.db.execute("INSERT INTO turn_segments VALUES ($1, 1, 'Many people feel the same.')", turn)
        async with (
            open_service(settings, role=Role.JOBS) as back,
            working(back.workers, back.phase.stop, back.metrics),
            visit.http.get(f"api/chat/turns/{turn}/events") as stream,
        ):
            text = await stream.text()
    assert "Many people feel the same." in text
    assert stand_in.INTERRUPTED in text
    message = await idle.one("SELECT text FROM messages WHERE speaker = 'agent' AND turn = 1")
    assert message["text"].startswith(f"Many people feel the same. {stand_in.INTERRUPTED}")


async def test_a_jobs_process_serves_no_chat(settings: Settings) -> None:
    async with open_service(settings, role=Role.JOBS) as back, TestClient(TestServer(back.app)) as client:
        assert (await client.post("/api/chat/sessions", json={})).status == 404
