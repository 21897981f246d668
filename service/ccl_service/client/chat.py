"""Conversations: the operations one by one, and ``Conversation`` which says something and brings the whole answer."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Final
from uuid import UUID

import aiohttp
from pydantic import Field, TypeAdapter

from ccl_contract.chat import (
    ChatAction,
    ChatOpened,
    Segment,
    SocketAccepted,
    SocketDone,
    SocketError,
    SocketFollow,
    SocketHello,
    SocketReady,
    SocketSay,
    SocketSegment,
    TurnAccepted,
    TurnDone,
    TurnFailed,
)
from ccl_service.chat.model import OpenChat, Say, TurnEvent
from ccl_service.client.errors import ApiError, NoAnswer, Problem
from ccl_service.client.transport import Request, Transport, operation, translated

#: Seconds until the whole answer to one message has to be there, and between two looks for it.
ANSWER_WITHIN: Final = 60.0
AGAIN_AFTER: Final = 0.2

Frame = SocketReady | SocketAccepted | SocketSegment | SocketDone | SocketError
_FRAME: Final = TypeAdapter[Frame](Annotated[Frame, Field(discriminator="type")])


class Socket:
    """An open WebSocket of one conversation."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws

    async def send(self, frame: SocketSay | SocketFollow) -> None:
        """Say something, or read a turn again."""
        with translated():
            await self._ws.send_str(frame.model_dump_json(exclude_none=True))

    async def __aiter__(self) -> AsyncIterator[Frame]:
        """What comes, until the service closes the socket; ``closed`` then says why."""
        async for message in self._ws:
            if message.type is aiohttp.WSMsgType.TEXT:
                yield _FRAME.validate_json(message.data)

    @property
    def closed(self) -> int | None:
        """The code the socket was closed with (``ChatClose``); None while it is open."""
        return self._ws.close_code


class Chat:
    """The operations. A visitor's token comes from ``open`` and speaks for one conversation."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("post_api_chat_sessions")
    async def open(self, return_token: str | None = None) -> ChatOpened:
        """Open a conversation; a return token binds it to its lead."""
        request = Request("POST", "api/chat/sessions", body=OpenChat(return_token=return_token))
        return await self._transport.json(ChatOpened, request)

    @operation("post_api_chat")
    async def say(self, visitor_token: str, text: str) -> TurnAccepted:
        """Say something; the turn answers it. Not repeated by itself: it would be said twice."""
        request = Request("POST", "api/chat", body=Say(text=text), headers=_as(visitor_token))
        return await self._transport.json(TurnAccepted, request)

    @operation("get_api_chat_turns_id_events")
    async def events(self, visitor_token: str, turn_id: UUID | str, *, after: int = 0) -> AsyncIterator[TurnEvent]:
        """The answer's events after segment ``after``. A stream may end early: come back after the last one seen."""
        headers = _as(visitor_token) | {"Last-Event-ID": str(after)}
        request = Request("GET", f"api/chat/turns/{turn_id}/events", headers=headers, seconds=None)
        async with self._transport.open(request) as answer:
            fields: dict[str, str] = {}
            async for raw in answer.content:
                line = raw.decode().rstrip("\r\n")
                name, _, value = line.partition(":")
                if name:
                    fields[name] = value.removeprefix(" ")
                elif "data" in fields:
                    yield TurnEvent.model_validate(fields)
                    fields = {}

    @operation("get_api_chat_ws")
    @contextlib.asynccontextmanager
    async def socket(self, visitor_token: str) -> AsyncIterator[Socket]:
        """A conversation by WebSocket; the first frame that comes is SocketReady. Raises Unreachable."""
        with translated():
            async with self._transport.session.ws_connect("api/chat/ws") as ws:
                await ws.send_str(SocketHello(type="hello", visitor_token=visitor_token).model_dump_json())
                yield Socket(ws)


class Conversation:
    """An open conversation; ``action`` is that of the last answer."""

    def __init__(self, chat: Chat, opened: ChatOpened) -> None:
        self._chat, self._opened = chat, opened
        self.action = ChatAction.CONTINUE

    @property
    def greeting(self) -> str:
        """What the service says first."""
        return self._opened.greeting

    @property
    def visitor_token(self) -> str:
        """Speaks for the conversation, for twelve hours."""
        return self._opened.visitor_token

    @property
    def conversation_id(self) -> str:
        """Its id."""
        return self._opened.conversation_id

    @property
    def closed(self) -> bool:
        """Whether another message would be refused."""
        return self.action is ChatAction.CLOSE

    async def say(self, text: str, on_segment: Callable[[str], None] = lambda _: None) -> str:
        """Say something and return the whole answer; ``on_segment`` sees each sentence as it comes.

        A stream that breaks off is taken up again after the last sentence seen: the pod that served it may be going,
        and another one has the rest. Raises Problem, Unreachable, NoAnswer.
        """
        turn = (await self._chat.say(self.visitor_token, text)).turn_id
        deadline = time.monotonic() + ANSWER_WITHIN
        said: list[Segment] = []
        while time.monotonic() < deadline:
            try:
                if await self._hear(turn, said, on_segment):
                    return " ".join(segment.text for segment in said)
            except ApiError as error:
                if isinstance(error, Problem | NoAnswer) and not _may_come(error):
                    raise
            await asyncio.sleep(AGAIN_AFTER)
        raise NoAnswer(f"no answer within {ANSWER_WITHIN:.0f} s")

    async def _hear(self, turn: str, said: list[Segment], on_segment: Callable[[str], None]) -> bool:
        """Read one stream to its end; whether the answer is complete."""
        after = said[-1].seq if said else 0
        async for event in self._chat.events(self.visitor_token, turn, after=after):
            match event.data:
                case Segment() as segment:
                    said.append(segment)
                    on_segment(segment.text)
                case TurnDone(action=action):
                    self.action = action
                    return True
                case TurnFailed(code=code, retryable=False):
                    raise NoAnswer("no answer will come", code=code)
        return False


def _may_come(error: ApiError) -> bool:
    return isinstance(error, Problem) and error.retryable


def _as(visitor_token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {visitor_token}"}
