"""The socket: who may open it, what it says, how it ends."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import aiohttp
import pytest

from ccl_contract.chat import ChatClose
from ccl_service.agents import stand_in
from ccl_service.chat import ws
from ccl_service.chat.model import MAX_MESSAGE, MOST_BYTES
from ccl_service.platform.auth import VISITOR_LIFETIME, VISITOR_PURPOSE, issue_visitor
from ccl_service.platform.http import KEYS, LIMITER, PHASE
from ccl_service.platform.keys import KeyName, KeyRing, b64encode
from ccl_service.platform.limits import LimitClass
from hack.fakes.script import Rule
from tests.service.chat.system import System
from tests.service.conftest import ROOT_KEY
from tests.service.polling import eventually

ORIGIN = "https://cars.example.com"


class Socket:
    """A visitor's end of a socket."""

    def __init__(self, raw: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self.raw = raw

    async def send(self, **frame: Any) -> None:
        await self.raw.send_str(json.dumps(frame))

    async def frame(self) -> dict[str, Any]:
        message = await self.raw.receive(timeout=30)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        found: dict[str, Any] = json.loads(message.data)
        assert found.pop("v") == 1
        return found

    async def answer(self) -> list[dict[str, Any]]:
        """The frames up to the end of a turn."""
        frames = [await self.frame()]
        while frames[-1]["type"] not in {"done", "error"}:
            frames.append(await self.frame())
        return frames

    async def closed(self) -> int:
        """The code with which the service closes it."""
        message = await self.raw.receive(timeout=30)
        assert message.type is aiohttp.WSMsgType.CLOSE, message
        return int(message.data)


@contextlib.asynccontextmanager
async def socket(system: System, **headers: str) -> AsyncIterator[Socket]:
    async with (
        aiohttp.ClientSession(system.url) as http,
        http.ws_connect("/api/chat/ws", headers=headers) as raw,
    ):
        yield Socket(raw)


async def visitor(system: System) -> str:
    async with aiohttp.ClientSession(system.url) as http, http.post("/api/chat/sessions", json={}) as answer:
        return str((await answer.json())["visitor_token"])


@contextlib.asynccontextmanager
async def talking(system: System, token: str | None = None) -> AsyncIterator[Socket]:
    """A socket after its hello."""
    async with socket(system) as opened:
        await opened.send(type="hello", visitor_token=token or await visitor(system))
        assert (await opened.frame())["type"] == "ready"
        yield opened


async def test_a_turn_arrives_as_its_stored_segments_and_then_done(system: System) -> None:
    async with talking(system) as visit:
        await visit.send(type="say", text="my credit is bad", ref="a1")
        accepted, *segments, done = await visit.answer()
    assert (accepted["type"], accepted["ref"]) == ("accepted", "a1")
    stored = await system.db.fetch("SELECT seq, text FROM turn_segments ORDER BY seq")
    assert [(s["seq"], s["text"]) for s in segments] == [tuple(row) for row in stored]
    assert done == {"type": "done", "action": "continue", "turn_id": accepted["turn_id"]}


async def test_a_sentence_is_sent_while_the_model_still_writes_the_next_one(system: System) -> None:
    system.openai.script(Rule(match="slowly", reply={"action": "continue", "reply": "One. Two two two two two two."}))
    system.openai.fault("slow", seconds=0.1)
    async with talking(system) as visit:
        await visit.send(type="say", text="slowly")
        await visit.frame()
        await visit.frame()
        assert await system.db.fetchval("SELECT state FROM turns") == "queued"
        assert (await visit.answer())[-1]["type"] == "done"


async def test_messages_sent_at_once_are_answered_one_after_the_other(system: System) -> None:
    async with talking(system) as visit:
        for n in range(3):
            await visit.send(type="say", text=f"message {n}", ref=str(n))
        frames = [frame for _ in range(3) for frame in await visit.answer()]
    accepted = [frame["turn_id"] for frame in frames if frame["type"] == "accepted"]
    assert [frame["turn_id"] for frame in frames if frame["type"] == "done"] == accepted


async def test_another_socket_goes_on_after_the_last_segment_seen(system: System) -> None:
    token = await visitor(system)
    async with talking(system, token) as visit:
        await visit.send(type="say", text="my credit is bad")
        accepted, *segments, _ = await visit.answer()
    async with talking(system, token) as visit:
        await visit.send(type="follow", turn_id=accepted["turn_id"], after=segments[0]["seq"])
        assert [frame.get("seq") for frame in await visit.answer()] == [2, 3, None]


async def test_the_turn_of_another_conversation_is_not_found(system: System) -> None:
    async with talking(system) as mine, talking(system) as other:
        await mine.send(type="say", text="hello")
        turn = (await mine.answer())[0]["turn_id"]
        await other.send(type="follow", turn_id=turn)
        assert await other.frame() == {"type": "error", "code": "NOT_FOUND_001", "retryable": False, "turn_id": turn}


async def test_an_answer_that_closes_the_conversation_closes_the_socket(system: System) -> None:
    system.openai.script(Rule(match="bye", reply={"action": "close", "reply": "Good bye."}))
    async with talking(system) as visit:
        await visit.send(type="say", text="bye")
        assert (await visit.answer())[-1]["action"] == "close"
        assert await visit.closed() == ChatClose.DONE


async def test_speaking_into_a_closed_conversation_is_refused_and_ends_the_socket(idle: System) -> None:
    async with talking(idle) as visit:
        await idle.db.execute("UPDATE conversations SET state = 'closed'")
        await visit.send(type="say", text="hello", ref="r")
        assert await visit.frame() == {"type": "error", "code": "CHAT_001", "retryable": False, "ref": "r"}
        assert await visit.closed() == ChatClose.DONE


async def test_an_answer_stops_where_control_was_taken(system: System) -> None:
    system.openai.script(Rule(match="slowly", reply={"action": "continue", "reply": "One. Two two two. Three three."}))
    system.openai.fault("slow", seconds=0.2)
    async with talking(system) as visit:
        await visit.send(type="say", text="slowly")
        await visit.frame()
        first = await visit.frame()
        await system.db.execute("UPDATE conversations SET control_epoch = control_epoch + 1")
        frames = [first, *await visit.answer()]
    assert len([frame for frame in frames if frame["type"] == "segment"]) < 3
    assert frames[-1]["type"] == "done"


async def test_without_a_model_the_stand_in_answers_here_too(system: System) -> None:
    system.openai.fault("status", status=500)
    async with talking(system) as visit:
        await visit.send(type="say", text="hello")
        frames = await visit.answer()
    assert stand_in.ASK_PHONE in " ".join(frame.get("text", "") for frame in frames)


SOMEBODY = json.dumps({"c": str(uuid4()), "exp": 9_999_999_999}).encode()
#: What does not open a conversation, by what it is.
NO_TOKENS: dict[str, Callable[[KeyRing], str]] = {
    "a token that has ended": lambda keys: issue_visitor(
        keys, str(uuid4()), now=datetime.now(UTC) - VISITOR_LIFETIME - timedelta(seconds=1)
    ),
    "a token of another purpose": lambda keys: keys.sign("return-link", SOMEBODY),
    "a token under another key": lambda keys: keys.sign(VISITOR_PURPOSE, SOMEBODY, name=KeyName.SESSION),
    "another conversation under a genuine signature": lambda keys: ".".join(
        [b64encode(SOMEBODY), *issue_visitor(keys, str(uuid4()), now=datetime.now(UTC)).split(".")[1:]]
    ),
    "the root key": lambda _: ROOT_KEY,
    "a scoped key": lambda _: f"ccl_aaaaaaaa_{'A' * 43}",
}


@pytest.mark.parametrize("make", NO_TOKENS.values(), ids=NO_TOKENS)
async def test_whatever_else_is_shown_opens_no_conversation(idle: System, make: Callable[[KeyRing], str]) -> None:
    async with socket(idle, Authorization=f"Bearer {ROOT_KEY}") as visit:
        await visit.send(type="hello", visitor_token=make(idle.app[KEYS]))
        assert await visit.closed() == ChatClose.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"type": "hello", "visitor_token": "a.b.c"}, ChatClose.UNAUTHENTICATED),
        ({"type": "say", "text": "hello"}, ChatClose.POLICY),
        ({"type": "hello"}, ChatClose.POLICY),
        ([], ChatClose.POLICY),
    ],
)
async def test_a_socket_without_a_valid_hello_is_closed(idle: System, first: object, code: ChatClose) -> None:
    async with socket(idle) as visit:
        await visit.raw.send_str(json.dumps(first))
        assert await visit.closed() == code


async def test_a_visitor_who_says_nothing_is_not_waited_for(idle: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "HELLO_SECONDS", 0.05)
    async with socket(idle) as visit:
        assert await visit.closed() == ChatClose.TOO_SLOW


async def test_a_page_of_another_origin_is_refused_before_the_upgrade(idle: System) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        async with socket(idle, Origin="https://evil.example"):
            pass
    assert caught.value.status == 403
    async with socket(idle, Origin=ORIGIN):
        pass


async def test_a_plain_request_is_told_so(idle: System) -> None:
    async with aiohttp.ClientSession(idle.url) as http, http.get("/api/chat/ws") as answer:
        assert answer.status == 400


async def test_a_bad_frame_is_answered_and_the_conversation_goes_on(idle: System) -> None:
    async with talking(idle) as visit:
        for text in ("{", '{"type": "shout"}', '{"type": "say", "text": "  "}', '{"type": "say", "text": "\\u0000"}'):
            await visit.raw.send_str(text)
            assert (await visit.frame())["code"].startswith("VALIDATION_")
        await visit.send(type="say", text="hello")
        assert (await visit.frame())["type"] == "accepted"


async def test_nothing_but_bad_frames_ends_the_socket(idle: System) -> None:
    async with talking(idle) as visit:
        for _ in range(ws.MOST_REFUSED):
            await visit.send(type="shout")
            assert (await visit.frame())["type"] == "error"
        assert await visit.closed() == ChatClose.POLICY


async def test_frames_that_are_too_large_or_binary_end_the_socket(idle: System) -> None:
    async with talking(idle) as visit:
        await visit.raw.send_str("x" * (MOST_BYTES + 1))
        assert await visit.closed() == ChatClose.TOO_LARGE
    async with talking(idle) as visit:
        await visit.raw.send_bytes(b"{}")
        assert await visit.closed() == ChatClose.UNSUPPORTED


async def test_the_longest_message_is_taken_however_its_characters_are_written(idle: System) -> None:
    async with talking(idle) as visit:
        await visit.send(type="say", text="\U0001f697" * MAX_MESSAGE)  # json.dumps escapes all of them
        assert (await visit.frame())["type"] == "accepted"


MOMENT = datetime.now(UTC)


def stands_still() -> datetime:
    """A clock by which no window of a limit ends."""
    return MOMENT


@pytest.mark.parametrize("clock", [stands_still])
async def test_messages_of_a_session_are_limited_together_with_those_by_http(idle: System) -> None:
    token = await visitor(idle)
    headers = {"Authorization": f"Bearer {token}"}
    codes: set[str] = set()
    async with aiohttp.ClientSession(idle.url, headers=headers) as http, talking(idle, token) as visit:
        for _ in range(59):
            async with http.get(f"/api/chat/turns/{uuid4()}/events") as answer:
                assert answer.status == 404
        for _ in range(9):
            await visit.send(type="shout")
            codes.add((await visit.frame())["code"])
    assert codes == {"VALIDATION_001", "RATE_LIMIT_001"}


@pytest.mark.parametrize("clock", [stands_still])
async def test_messages_of_all_sessions_of_an_address_are_limited_together(idle: System) -> None:
    limiter = idle.app[LIMITER]
    async with talking(idle) as ann, talking(idle) as ben:
        while (standing := limiter.check(LimitClass.CHAT_ADDRESS, "127.0.0.1")) and standing.remaining > 1:
            pass
        codes = []
        for visit in (ann, ann, ben):
            await visit.send(type="shout")
            codes.append((await visit.frame())["code"])
    assert codes == ["VALIDATION_001", "RATE_LIMIT_001", "RATE_LIMIT_001"]


async def test_turns_under_way_are_bounded(idle: System) -> None:
    async with talking(idle) as visit:
        for _ in range(ws.MOST_PENDING + 1):  # one is being followed already
            await visit.send(type="say", text="hello")
            assert (await visit.frame())["type"] == "accepted"
        await visit.send(type="say", text="one more", ref="r")
        assert await visit.frame() == {"type": "error", "code": "RATE_LIMIT_001", "retryable": True, "ref": "r"}
    assert await idle.db.fetchval("SELECT count(*) FROM turns") == ws.MOST_PENDING + 1


async def test_sockets_of_a_conversation_are_bounded_and_counted_down(idle: System) -> None:
    token = await visitor(idle)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(ws.SOCKETS_PER_CONVERSATION):
            await stack.enter_async_context(talking(idle, token))
        async with talking(idle, token) as visit:
            assert await visit.closed() == ChatClose.TOO_MANY

    async def nobody() -> bool:
        return not idle.app[ws.SOCKETS]

    await eventually(nobody, within=30)


async def test_a_process_that_goes_asks_its_visitors_to_come_back(
    idle: System, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "JITTER_SECONDS", 0.1)
    async with talking(idle) as visit, aiohttp.ClientSession(idle.url, headers=root) as http:
        async with http.post("/api/monitoring/shed?seconds=600") as answer:
            assert answer.status == 202
        assert await visit.closed() == ChatClose.RESTART
        async with http.get("/ready") as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert not idle.app[PHASE].draining


async def test_a_silent_visitor_is_pinged_and_one_without_a_pong_is_let_go(
    idle: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ws, "PING_SECONDS", 0.1)
    token, kinds = await visitor(idle), list[aiohttp.WSMsgType]()
    ended = {aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR}
    async with (
        aiohttp.ClientSession(idle.url) as http,
        http.ws_connect("/api/chat/ws", autoping=False) as raw,
    ):
        await raw.send_str(json.dumps({"type": "hello", "visitor_token": token}))
        while not kinds or kinds[-1] not in ended:
            kinds.append((await raw.receive(timeout=30)).type)
    assert aiohttp.WSMsgType.PING in kinds

    async def nobody() -> bool:
        return not idle.app[ws.SOCKETS]

    async with asyncio.timeout(30):
        await eventually(nobody, within=30)
