"""A conversation against a server that speaks the chat's protocol and breaks off."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from ccl_contract.chat import ChatAction, ChatOpened, Segment, TurnAccepted, TurnDone, TurnFailed
from ccl_service.client import Conversation, NoAnswer, converse
from hack.fakes.server import serving

PIECES = ("One.", "Two.", "Three.")


@dataclass
class Server:
    """Answers every message with PIECES. ``cuts``: after how many segments each stream breaks off, one by one;
    ``unavailable``: how many streams are refused with 503 first."""

    cuts: list[int] = field(default_factory=list)
    unavailable: int = 0
    failure: TurnFailed | None = None
    resumed_after: list[int] = field(default_factory=list)

    async def open(self, _: web.Request) -> web.Response:
        opened = ChatOpened(visitor_token="t", conversation_id="c", greeting="Hi, I am an AI.")
        return web.Response(text=opened.model_dump_json(), status=201, content_type="application/json")

    async def say(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer t"
        accepted = TurnAccepted(turn_id="7")
        return web.Response(text=accepted.model_dump_json(), status=202, content_type="application/json")

    async def events(self, request: web.Request) -> web.StreamResponse:
        if self.unavailable:
            self.unavailable -= 1
            return web.Response(status=503)
        last = int(request.headers["Last-Event-ID"])
        self.resumed_after.append(last)
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        await stream.write(b": waiting\n\n")
        cut = self.cuts.pop(0) if self.cuts else None
        for seq, text in list(enumerate(PIECES, 1))[last:]:
            if cut is not None and seq > cut:
                assert request.transport is not None
                request.transport.abort()
                return stream
            data = Segment(seq=seq, text=text).model_dump_json()
            await stream.write(f"event: segment\nid: {seq}\ndata: {data}\n\n".encode())
        end = ("error", self.failure) if self.failure else ("done", TurnDone(action=ChatAction.CLOSE))
        await stream.write(f"event: {end[0]}\ndata: {end[1].model_dump_json()}\n\n".encode())
        return stream


@contextlib.asynccontextmanager
async def talking(server: Server) -> AsyncIterator[Conversation]:
    app = web.Application()
    app.router.add_post("/api/chat/sessions", server.open)
    app.router.add_post("/api/chat", server.say)
    app.router.add_get("/api/chat/turns/7/events", server.events)
    async with serving(app, host="127.0.0.1", port=0) as url, converse(url) as conversation:
        yield conversation


async def test_an_answer_is_its_segments_joined() -> None:
    async with talking(Server()) as chat:
        assert chat.greeting == "Hi, I am an AI."
        assert await chat.say("hello") == "One. Two. Three."
        assert chat.closed


async def test_a_stream_that_breaks_off_is_resumed_after_the_last_segment_seen() -> None:
    server = Server(cuts=[1, 2])
    seen: list[str] = []
    async with talking(server) as chat:
        assert await chat.say("hello", seen.append) == "One. Two. Three."
    assert seen == list(PIECES)
    assert server.resumed_after == [0, 1, 2]


async def test_a_service_that_is_away_for_a_moment_is_asked_again() -> None:
    async with talking(Server(unavailable=2)) as chat:
        assert await chat.say("hello") == "One. Two. Three."


async def test_an_error_that_is_final_is_raised_with_its_code() -> None:
    async with talking(Server(failure=TurnFailed(code="SYSTEM_001", retryable=False))) as chat:
        with pytest.raises(NoAnswer) as refused:
            await chat.say("hello")
        assert refused.value.code == "SYSTEM_001"
