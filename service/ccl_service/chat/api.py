"""HTTP of the chat: open a session, say something, read the stream of a turn."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from ccl_contract.chat import ChatOpened, Segment, TurnAccepted, TurnDone, TurnFailed
from ccl_service.chat.model import OpenChat, Progress, Say, TurnState
from ccl_service.chat.service import Chat
from ccl_service.platform.body import path_uuid
from ccl_service.platform.http import PRINCIPAL, Auth, LimitClass, Priority, Route, json_reply, parse_json
from ccl_service.platform.problems import CclError, FieldError, TryLater, ValidationFailed

CHAT: Final = web.AppKey("chat", Chat)

#: Seconds between two looks at the database while a reader waits.
POLL_SECONDS: Final = 0.2
#: Seconds between comment lines that keep proxies from closing a silent stream.
HEARTBEAT_SECONDS: Final = 5.0
#: A stream ends after this many seconds even without a result, so that a stopping pod is not held up; the reader comes
#: back with Last-Event-ID.
STREAM_SECONDS: Final = 12.0


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
    stream = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await stream.prepare(request)
    with contextlib.suppress(ConnectionResetError):  # the reader hung up, which is its right
        await _follow(stream, look, progress, seen)
        await stream.write_eof()
    return stream


async def _follow(
    stream: web.StreamResponse, look: Callable[[int], Awaitable[Progress]], progress: Progress, seen: int
) -> None:
    """Send what there is and what comes, until the turn or the time is over. ``look`` tells what is new."""
    loop = asyncio.get_running_loop()
    end, heartbeat = loop.time() + STREAM_SECONDS, loop.time() + HEARTBEAT_SECONDS
    while True:
        seen = await _send(stream, progress, seen)
        if progress.state is not TurnState.QUEUED or loop.time() >= end:
            return
        if loop.time() >= heartbeat:
            await stream.write(b": waiting\n\n")
            heartbeat = loop.time() + HEARTBEAT_SECONDS
        await asyncio.sleep(POLL_SECONDS)
        try:
            progress = await look(seen)
        except CclError as error:
            # the answer has begun, so the problem document has to travel inside it
            await _event(stream, "error", TurnFailed(code=error.code, retryable=isinstance(error, TryLater)))
            return


async def _send(stream: web.StreamResponse, progress: Progress, seen: int) -> int:
    """Write what is new; returns the last segment sent."""
    for seq, text in progress.segments:
        await _event(stream, "segment", Segment(seq=seq, text=text), event_id=seq)
        seen = seq
    if progress.state is TurnState.DONE and progress.action is not None:
        await _event(stream, "done", TurnDone(action=progress.action))
    elif progress.state is TurnState.QUARANTINED:
        await _event(stream, "error", TurnFailed(code=CclError.code, retryable=False))
    return seen


async def _event(stream: web.StreamResponse, name: str, data: BaseModel, *, event_id: int | None = None) -> None:
    """One event. JSON holds no line break, so one data line is enough."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    await stream.write(f"event: {name}\n{head}data: {data.model_dump_json()}\n\n".encode())


def _last_event_id(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "0") or "0"
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
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
        LimitClass.CHAT,
        priority=Priority.CHAT,
        body=OpenChat,
        response=ChatOpened,
        status=201,
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
        response=TurnAccepted,
        status=202,
        summary="Say something; the turn answers it",
    ),
    Route(
        "GET",
        "/api/chat/turns/{id}/events",
        get_turn_events,
        Auth.VISITOR,
        LimitClass.CHAT,
        priority=Priority.CHAT,
        summary="The answer as server-sent events",
    ),
)
