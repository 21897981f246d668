"""HTTP of the chat: open a session, say something, read the stream of a turn."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from typing import Final
from uuid import UUID

from aiohttp import web

from ccl_contract.chat import SEQ_DIGITS, ChatAction, ChatOpened, Segment, TurnAccepted, TurnDone, TurnFailed
from ccl_service.chat.model import MOST_BYTES, ConversationClosed, OpenChat, Progress, Say, TurnEvent
from ccl_service.chat.service import Chat
from ccl_service.chat.stream import Event, follow
from ccl_service.leads.tokens import LinkInvalid
from ccl_service.platform.body import path_uuid
from ccl_service.platform.http import PHASE, PRINCIPAL, Auth, LimitClass, Priority, Route, json_reply, parse_json
from ccl_service.platform.middleware import hung_up
from ccl_service.platform.problems import FieldError, ValidationFailed
from ccl_service.platform.route import EVENT_STREAM, Header, Link

CHAT: Final = web.AppKey("chat", Chat)

#: A return token and what is around it.
OPEN_BYTES: Final = 16_384
#: Seconds between comment lines that keep proxies from closing a silent stream.
HEARTBEAT_SECONDS: Final = 5.0
#: A stream ends after this many seconds even without a result, before a proxy's patience does (60 s); the reader comes
#: back with Last-Event-ID.
STREAM_SECONDS: Final = 50.0
EVENT_NAMES: Final[Mapping[type[Event], str]] = {Segment: "segment", TurnDone: "done", TurnFailed: "error"}


async def post_session(request: web.Request) -> web.Response:
    """POST /api/chat/sessions: 201. Problems: 404 a return token that is not valid (LINK_001), 422 body."""
    body = await parse_json(request, OpenChat)
    return json_reply(await request.app[CHAT].open(body.return_token), status=201)


async def post_message(request: web.Request) -> web.Response:
    """POST /api/chat: 202 with the turn. Problems: 401, 409 conversation closed (CHAT_001), 422 body, 429."""
    body = await parse_json(request, Say)
    turn_id = await request.app[CHAT].say(UUID(request[PRINCIPAL].id), body.text)
    return json_reply(TurnAccepted(turn_id=str(turn_id)), status=202)


async def get_turn_events(request: web.Request) -> web.StreamResponse:
    """GET /api/chat/turns/{id}/events: 200 a stream of server-sent events, resumed by Last-Event-ID.

    Problems: 401, 404 a turn of another conversation, 422 Last-Event-ID.
    """
    chat, conversation_id = request.app[CHAT], UUID(request[PRINCIPAL].id)
    turn_id, seen = path_uuid(request), _last_event_id(request)

    async def look(after: int) -> Progress:
        return await chat.progress(conversation_id, turn_id, after=after)

    progress = await look(seen)
    loop = asyncio.get_running_loop()
    end, leave = loop.time() + STREAM_SECONDS, request.app[PHASE].leave

    def over() -> bool:
        return leave.is_set() or loop.time() >= end

    stream = web.StreamResponse(
        headers={"Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await stream.prepare(request)
    async with contextlib.aclosing(follow(look, progress, seen, over=over)) as events:
        await _write(request, stream, events)
    await stream.write_eof()
    return stream


async def _write(request: web.Request, stream: web.StreamResponse, events: AsyncGenerator[Event | None, None]) -> None:
    """Raises ConnectionResetError when the reader has hung up, which is its right (the middleware counts it)."""
    clock = asyncio.get_running_loop().time
    written = clock()
    async for event in events:
        if event is not None:
            await stream.write(_text(event).encode())
        elif hung_up(request):
            raise ConnectionResetError("the reader is gone")
        elif clock() - written >= HEARTBEAT_SECONDS:
            await stream.write(b": waiting\n\n")
        else:
            continue
        written = clock()


def _text(event: Event) -> str:
    """One event. JSON holds no line break, so one data line is enough."""
    head = f"id: {event.seq}\n" if isinstance(event, Segment) else ""
    return f"event: {EVENT_NAMES[type(event)]}\n{head}data: {event.model_dump_json()}\n\n"


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= SEQ_DIGITS):
        raise ValidationFailed(
            [FieldError(("Last-Event-ID",), "number", "is not the id of an event of this stream", "header")]
        )
    return int(text)


ROUTES: Final = (
    Route(
        "POST",
        "/api/chat/sessions",
        post_session,
        Auth.PUBLIC,
        LimitClass.CHAT_OPENING,
        priority=Priority.CHAT,
        body=OpenChat,
        body_limit=OPEN_BYTES,
        body_depth=2,
        response=ChatOpened,
        status=201,
        links=(Link("POST", "/api/chat", ()),),
        errors=(LinkInvalid,),
        summary="Open a conversation; a return token binds it to its lead",
    ),
    Route(
        "POST",
        "/api/chat",
        post_message,
        Auth.VISITOR,
        LimitClass.CHAT,
        priority=Priority.CHAT,
        body=Say,
        body_limit=MOST_BYTES,
        body_depth=2,
        response=TurnAccepted,
        status=202,
        links=(Link("GET", "/api/chat/turns/{id}/events", (("id", "$response.body#/turn_id"),)),),
        errors=(ConversationClosed,),
        summary="Say something; the turn answers it",
    ),
    Route(
        "GET",
        "/api/chat/turns/{id}/events",
        get_turn_events,
        Auth.VISITOR,
        LimitClass.CHAT,
        priority=Priority.CHAT,
        headers=(
            Header(
                "Last-Event-ID",
                "The last event that was seen; what follows it is sent.",
                "0",
                rf"^\d{{0,{SEQ_DIGITS}}}$",
            ),
        ),
        response=TurnEvent,
        produces=EVENT_STREAM,
        example=_text(Segment(seq=1, text="Hello.")) + _text(TurnDone(action=ChatAction.CONTINUE)),
        summary="The answer as server-sent events",
    ),
)
