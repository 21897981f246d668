"""A conversation over one WebSocket: ``GET /api/chat/ws``.

A browser cannot put a header on a socket, so the visitor's token is the first frame. After it the visitor sends
``say`` and ``follow`` frames (``ccl_contract.chat``); answers come as for the event stream, from the same
``chat.stream.follow``, one turn after the other. Everything a visitor was shown can be read again with ``follow``, so
that a broken or restarted socket loses nothing.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from aiohttp import WSMsgType, web
from pydantic import BaseModel

from ccl_contract.chat import (
    ChatAction,
    ChatClose,
    Segment,
    SocketAccepted,
    SocketDone,
    SocketError,
    SocketFollow,
    SocketHello,
    SocketReady,
    SocketSay,
    SocketSegment,
    TurnDone,
)
from ccl_service.chat.api import CHAT
from ccl_service.chat.model import MOST_BYTES, ConversationClosed, Progress, Say
from ccl_service.chat.service import Chat
from ccl_service.chat.stream import Event, failed, follow
from ccl_service.platform.admission import CLIENT
from ccl_service.platform.auth import verify_visitor
from ccl_service.platform.body import validate
from ccl_service.platform.http import CLOCK, KEYS, LIMITER, PHASE, SETTINGS, Auth, LimitClass, Priority, Route
from ccl_service.platform.json_input import decode_json
from ccl_service.platform.limits import Limiter
from ccl_service.platform.phase import Phase
from ccl_service.platform.problems import (
    CclError,
    FieldError,
    Forbidden,
    Malformed,
    RateLimited,
    Unauthenticated,
    ValidationFailed,
)

#: Seconds a visitor has for the first frame.
HELLO_SECONDS: Final = 10.0
#: A ping goes out after so many silent seconds, before a proxy's patience ends (60 s); without a pong the socket ends.
PING_SECONDS: Final = 20.0
#: A socket lives so long; the visitor's token is judged again when it comes back.
LIFE_SECONDS: Final = 3600.0
#: Sockets that are sent elsewhere go within so many seconds, so that they do not all come back at once.
JITTER_SECONDS: Final = 2.0
CLOSE_SECONDS: Final = 2.0
SOCKETS_PER_CONVERSATION: Final = 4
#: Turns of one socket that may wait for their answers.
MOST_PENDING: Final = 8
#: Refused frames in a row after which nobody sensible is at the other end.
MOST_REFUSED: Final = 10

#: The open sockets of this process by conversation.
SOCKETS: Final = web.AppKey("sockets", Counter[UUID])

_REQUESTS: Final[Mapping[str, type[SocketSay] | type[SocketFollow]]] = {"say": SocketSay, "follow": SocketFollow}


class Ended(Exception):
    """The socket is to be closed."""

    def __init__(self, code: ChatClose, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


async def get_socket(request: web.Request) -> web.WebSocketResponse:
    """GET /api/chat/ws: 101. Problems: 400 no WebSocket request, 403 a page of another origin, 429.

    Close codes: ``ccl_contract.chat.ChatClose``.
    """
    _check_origin(request)
    ws = web.WebSocketResponse(
        timeout=CLOSE_SECONDS, heartbeat=PING_SECONDS, max_msg_size=MOST_BYTES, compress=False, autoclose=False
    )
    await ws.prepare(request)
    try:
        conversation_id = await _hello(request, ws)
        with _one_more(request.app[SOCKETS], conversation_id):
            app = request.app
            await Talk(ws, app[CHAT], app[LIMITER], app[PHASE], conversation_id, client=request[CLIENT]).run()
    except Ended as end:
        await ws.close(code=end.code, message=end.reason.encode())
    except ConnectionResetError:
        pass  # the visitor is gone, which is their right; a socket has no status that could say so
    return ws


def _check_origin(request: web.Request) -> None:
    """A page may only talk for the visitor who is on it; programs send no Origin and have the token anyway."""
    origin = request.headers.get("Origin")
    allowed = request.app[SETTINGS].cors_origin
    if origin is not None and origin not in allowed and "*" not in allowed:
        raise Forbidden("this origin is not one of CORS_ORIGIN")


async def _hello(request: web.Request, ws: web.WebSocketResponse) -> UUID:
    """The conversation that the first frame speaks for. Raises Ended."""
    try:
        async with asyncio.timeout(HELLO_SECONDS):
            hello = _parse(await _text(ws), {"hello": SocketHello})
        assert isinstance(hello, SocketHello)
        token = hello.visitor_token
        conversation_id = verify_visitor(request.app[KEYS], token, now=request.app[CLOCK]())
    except TimeoutError as exc:
        raise Ended(ChatClose.TOO_SLOW, "no hello") from exc
    except Unauthenticated as exc:
        raise Ended(ChatClose.UNAUTHENTICATED, "the token is not valid") from exc
    except CclError as exc:
        raise Ended(ChatClose.POLICY, "the first frame must be hello") from exc
    await _send(ws, SocketReady(conversation_id=conversation_id))
    return UUID(conversation_id)


@contextlib.contextmanager
def _one_more(sockets: Counter[UUID], conversation_id: UUID) -> Iterator[None]:
    if sockets[conversation_id] >= SOCKETS_PER_CONVERSATION:
        raise Ended(ChatClose.TOO_MANY, "too many sockets of this conversation")
    sockets[conversation_id] += 1
    try:
        yield
    finally:
        sockets[conversation_id] -= 1
        if not sockets[conversation_id]:
            del sockets[conversation_id]


@dataclass(frozen=True, slots=True)
class Pending:
    """A turn whose segments after ``after`` are to be sent."""

    turn_id: UUID
    after: int


class Talk:
    """What happens on a socket between hello and its end."""

    def __init__(
        self,
        ws: web.WebSocketResponse,
        chat: Chat,
        limiter: Limiter,
        phase: Phase,
        conversation_id: UUID,
        *,
        client: str,
    ) -> None:
        """``client``: the visitor's address as it counts for limits."""
        self._ws, self._chat, self._limiter, self._phase = ws, chat, limiter, phase
        self._conversation_id, self._client = conversation_id, client
        self._pending: asyncio.Queue[Pending] = asyncio.Queue(MOST_PENDING)

    async def run(self) -> None:
        """Until one side ends it. Raises Ended with our reason, or ConnectionResetError."""
        tasks = [asyncio.create_task(part()) for part in (self._listen, self._answer, self._leave)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _listen(self) -> None:
        refused = 0
        while refused < MOST_REFUSED:
            text = await _text(self._ws)
            ref = None
            try:
                self._limiter.check_conversation(str(self._conversation_id), self._client)
                frame = _parse(text, _REQUESTS)
                ref = frame.ref if isinstance(frame, SocketSay) else None
                await self._take(frame)
                refused = 0
            except CclError as error:
                refused += 1
                problem = failed(error)
                await _send(self._ws, SocketError(code=problem.code, retryable=problem.retryable, ref=ref))
                if isinstance(error, ConversationClosed):
                    raise Ended(ChatClose.DONE, "the conversation is closed") from error
        raise Ended(ChatClose.POLICY, "too many refused frames")

    async def _take(self, frame: BaseModel) -> None:
        if self._pending.full():
            raise RateLimited("wait for the answers that are under way")
        if isinstance(frame, SocketSay):
            said = validate({"text": frame.text}, Say)
            turn_id = await self._chat.say(self._conversation_id, said.text)
            await _send(self._ws, SocketAccepted(turn_id=str(turn_id), ref=frame.ref))
            self._pending.put_nowait(Pending(turn_id, 0))
        elif isinstance(frame, SocketFollow):
            self._pending.put_nowait(Pending(frame.turn_id, frame.after))

    async def _answer(self) -> None:
        """Turns are answered in their order, so that following one after the other keeps nobody waiting."""
        while True:
            pending = await self._pending.get()
            async with contextlib.aclosing(self._events(pending)) as events:
                async for event in events:
                    await _send(self._ws, _frame(event, str(pending.turn_id)))
                    if isinstance(event, TurnDone) and event.action is ChatAction.CLOSE:
                        raise Ended(ChatClose.DONE, "the conversation is closed")

    async def _events(self, pending: Pending) -> AsyncGenerator[Event, None]:
        async def look(after: int) -> Progress:
            return await self._chat.progress(self._conversation_id, pending.turn_id, after=after)

        try:
            first = await look(pending.after)
        except CclError as error:
            yield failed(error)
            return
        async with contextlib.aclosing(follow(look, first, pending.after, over=lambda: False)) as events:
            async for event in events:
                if event is not None:
                    yield event

    async def _leave(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._phase.leave.wait(), LIFE_SECONDS)
        await asyncio.sleep(random.uniform(0, JITTER_SECONDS))  # noqa: S311 - spreads load, hides nothing
        raise Ended(ChatClose.RESTART, "come back and follow the last turn")


async def _text(ws: web.WebSocketResponse) -> str:
    """The next text frame. Raises Ended, or ConnectionResetError when the visitor has gone."""
    message = await ws.receive()
    if message.type is WSMsgType.TEXT:
        return str(message.data)
    if message.type is WSMsgType.BINARY:
        raise Ended(ChatClose.UNSUPPORTED, "text frames only")
    if message.type is WSMsgType.CLOSE:
        raise Ended(ChatClose.DONE, "")
    # an error has been answered with its close code by aiohttp: 1009 too large, 1002 no WebSocket frame, 1007 no UTF-8
    raise ConnectionResetError("the socket has ended")


def _parse(text: str, models: Mapping[str, type[BaseModel]]) -> BaseModel:
    """Raises Malformed or ValidationFailed."""
    value: Any = decode_json(text.encode())
    model = models.get(str(value.get("type"))) if isinstance(value, dict) else None
    if model is None:
        raise ValidationFailed([FieldError(("type",), "literal_error", f"must be one of {', '.join(models)}")])
    return validate(value, model)


def _frame(event: Event, turn_id: str) -> BaseModel:
    if isinstance(event, Segment):
        return SocketSegment(seq=event.seq, text=event.text, turn_id=turn_id)
    if isinstance(event, TurnDone):
        return SocketDone(action=event.action, turn_id=turn_id)
    return SocketError(code=event.code, retryable=event.retryable, turn_id=turn_id)


async def _send(ws: web.WebSocketResponse, frame: BaseModel) -> None:
    await ws.send_str(frame.model_dump_json(exclude_none=True))


ROUTES: Final = (
    Route(
        "GET",
        "/api/chat/ws",
        get_socket,
        Auth.PUBLIC,
        LimitClass.DEFAULT,
        priority=Priority.CHAT,
        errors=(Forbidden, Malformed),
        status=101,
        summary="A conversation by WebSocket; the first frame carries the visitor's token",
    ),
)
