"""The stream of a turn: who may read it, how it is resumed, how it ends."""

import asyncio
import time
from uuid import uuid4

import aiohttp
import pytest
from structlog.testing import capture_logs

from ccl_service.chat import api, stream
from ccl_service.platform.http import METRICS, PHASE
from hack.fakes.script import Rule
from tests.service.chat.system import System, Visit, visiting
from tests.service.polling import eventually


async def read(visit: Visit, turn: str, *, last: str | None = None) -> tuple[int, str]:
    """The whole stream as text."""
    headers = {"Last-Event-ID": last} if last is not None else {}
    async with visit.http.get(f"api/chat/turns/{turn}/events", headers=headers) as answer:
        return answer.status, await answer.text()


async def post(visit: Visit, text: str) -> str:
    async with visit.http.post("api/chat", json={"text": text}) as answer:
        assert answer.status == 202
        return str((await answer.json())["turn_id"])


async def test_a_stream_is_segments_with_their_ids_and_then_one_done(system: System) -> None:
    async with visiting(system.url) as visit:
        status, text = await read(visit, await post(visit, "my credit is bad"))
    assert status == 200
    blocks = [block.split("\n") for block in text.split("\n\n") if block and not block.startswith(":")]
    assert [block[0] for block in blocks] == ["event: segment"] * 3 + ["event: done"]
    assert [block[1] for block in blocks[:3]] == ["id: 1", "id: 2", "id: 3"]
    assert blocks[0][2].startswith('data: {"v":1,"seq":1,"text":"Many of our customers')
    assert blocks[3][1] == 'data: {"v":1,"action":"continue"}'


async def test_a_reader_resumes_after_the_last_event_it_has_seen(system: System) -> None:
    async with visiting(system.url) as visit:
        turn = await post(visit, "my credit is bad")
        _, whole = await read(visit, turn)
        _, rest = await read(visit, turn, last="2")
        _, nothing = await read(visit, turn, last="3")
    assert "id: 1\n" in whole
    assert "id: 2\n" not in rest
    assert rest == whole[whole.index("event: segment\nid: 3") :]
    assert nothing == 'event: done\ndata: {"v":1,"action":"continue"}\n\n'


async def test_sentences_arrive_while_the_model_is_still_writing(system: System) -> None:
    system.openai.script(Rule(match="slowly", reply={"action": "continue", "reply": "One. Two two two two two two."}))
    system.openai.fault("slow", seconds=0.1)
    seen: list[float] = []
    async with visiting(system.url) as visit:
        await visit.chat.say("slowly", lambda _: seen.append(time.monotonic()))
    assert len(seen) == 2
    assert seen[1] - seen[0] > 0.3


async def test_a_visitor_of_another_conversation_cannot_read_a_turn(system: System) -> None:
    async with visiting(system.url) as mine, visiting(system.url) as other:
        turn = await post(mine, "hello")
        assert (await read(other, turn))[0] == 404
        assert (await read(mine, turn))[0] == 200


async def test_without_a_visitor_token_nothing_is_said_or_read(idle: System) -> None:
    answers = {}
    for token in (None, "nonsense", "a.b.c"):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession(idle.url, headers=headers) as http,
            http.post("/api/chat", json={"text": "hi"}) as said,
            http.get(f"/api/chat/turns/{uuid4()}/events") as read_back,
        ):
            answers[token] = (said.status, read_back.status)
    assert answers == dict.fromkeys((None, "nonsense", "a.b.c"), (401, 401))


async def test_the_root_key_is_no_visitor(system: System, root: dict[str, str]) -> None:
    async with (
        aiohttp.ClientSession(system.url, headers=root) as http,
        http.post("/api/chat", json={"text": "hi"}) as answer,
    ):
        assert answer.status == 401


async def test_an_unknown_turn_and_a_wrong_event_id_are_refused(system: System) -> None:
    async with visiting(system.url) as visit:
        assert (await read(visit, str(uuid4())))[0] == 404
        assert (await read(visit, "nonsense"))[0] == 404
        turn = await post(visit, "hello")
        for wrong in ("x", "45089"):
            assert (await read(visit, turn, last=wrong))[0] == 422


async def test_a_message_out_of_form_is_refused_and_not_stored(idle: System) -> None:
    bodies: list[dict[str, str]] = [{}, {"text": ""}, {"text": "  "}, {"text": "x" * 4001}, {"text": "x", "to": "y"}]
    statuses = []
    async with visiting(idle.url) as visit:
        for body in bodies:
            async with visit.http.post("api/chat", json=body) as answer:
                statuses.append(answer.status)
    assert statuses == [422] * len(bodies)
    assert await idle.db.fetchval("SELECT count(*) FROM turns") == 0


async def test_a_return_token_that_is_not_ours_is_refused(system: System) -> None:
    async with (
        aiohttp.ClientSession(system.url) as http,
        http.post("/api/chat/sessions", json={"return_token": "forged.token.x"}) as answer,
    ):
        assert answer.status == 404
        assert (await answer.json())["code"] == "LINK_001"


async def test_a_turn_that_nobody_can_answer_ends_in_an_error_event(idle: System) -> None:
    async with visiting(idle.url) as visit:
        turn = await post(visit, "hello")
        await idle.db.execute("UPDATE turns SET state = 'quarantined'")
        _, text = await read(visit, turn)
    assert text == 'event: error\ndata: {"v":1,"code":"SYSTEM_001","retryable":false}\n\n'


async def test_a_stream_without_an_answer_beats_and_ends_so_that_the_reader_comes_back(
    idle: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(api, "STREAM_SECONDS", 0.6)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.05)
    async with visiting(idle.url) as visit, asyncio.timeout(5):
        _, text = await read(visit, await post(visit, "hello"))
    assert text.count(": waiting\n\n") >= 2
    assert "event:" not in text


async def test_a_reader_that_hangs_up_counts_as_499_and_is_no_failure_of_the_service(
    idle: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.01)
    monkeypatch.setattr(stream, "POLL_SECONDS", 0.01)
    async with visiting(idle.url) as visit:
        turn = await post(visit, "hello")
        with capture_logs() as logs:
            async with visit.http.get(f"api/chat/turns/{turn}/events") as answer:
                await answer.content.readline()
                assert answer.connection is not None
                assert answer.connection.transport is not None
                answer.connection.transport.abort()
            await eventually(lambda: _counted(idle), within=30)
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []


async def test_a_stopping_process_ends_its_streams_so_that_readers_go_on_elsewhere(idle: System) -> None:
    async with visiting(idle.url) as visit:
        turn = await post(visit, "hello")
        async with visit.http.get(f"api/chat/turns/{turn}/events") as answer:
            idle.app[PHASE].leave.set()
            async with asyncio.timeout(30):
                assert await answer.text() == ""


async def _counted(system: System) -> bool:
    """Whether the reader's going is what the metrics say of the stream, and nothing else."""
    answers = [s for s in system.app[METRICS].samples() if s["labels"].get("route") == "/api/chat/turns/{id}/events"]
    return [s["labels"]["status"] for s in answers if s["name"] == "ccl_http_requests_total"] == ["499"]
