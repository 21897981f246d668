"""Events of a chat turn's stream (``GET /api/chat/turns/{id}/events``), the bodies around it, the socket's frames."""

from enum import IntEnum, StrEnum
from typing import Literal
from uuid import UUID

from pydantic import Field

from ccl_contract.document import Document, Part

#: Of a segment's number, at most: no answer has as many as the database can count (32,767).
SEQ_DIGITS = 4
_ID = "0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11"


class ChatAction(StrEnum):
    """What happens after the reply."""

    CONTINUE = "continue"
    HANDOFF = "handoff"
    CLOSE = "close"


class ChatOpened(Part):
    """Answer to ``POST /api/chat/sessions``. ``greeting`` discloses that an AI is talking."""

    visitor_token: str = Field(examples=["eyJjIjoiMGIwZTdlMGUifQ.c2lnbmF0dXJl"])
    conversation_id: str = Field(examples=[_ID])
    greeting: str = Field(examples=["Hi, I am Cathy, an AI assistant."])


class TurnAccepted(Part):
    """Answer to ``POST /api/chat``."""

    turn_id: str = Field(examples=[_ID])


class Segment(Document):
    """Event ``segment``; the event id is ``seq``, counted from 1."""

    seq: int = Field(ge=1)
    text: str


class TurnDone(Document):
    """Event ``done``, once, last."""

    action: ChatAction


class TurnFailed(Document):
    """Event ``error``, once, last. ``code`` is a problem code of the HTTP API."""

    code: str
    retryable: bool


class ChatClose(IntEnum):
    """Why the service closes a socket (RFC 6455 7.4; 4000 and above are ours and mirror HTTP)."""

    DONE = 1000
    UNSUPPORTED = 1003
    POLICY = 1008
    TOO_LARGE = 1009
    #: Come back: this process stops, or its traffic moves elsewhere.
    RESTART = 1012
    UNAUTHENTICATED = 4401
    TOO_SLOW = 4408
    TOO_MANY = 4429


class SocketHello(Document):
    """The first frame from the visitor on ``/api/chat/ws``."""

    type: Literal["hello"]
    visitor_token: str = Field(min_length=1, max_length=4000)


class SocketSay(Document):
    """Say something. ``ref`` comes back in the frame that accepts or refuses it."""

    type: Literal["say"]
    text: str
    ref: str | None = Field(default=None, max_length=64)


class SocketFollow(Document):
    """Read a turn again after segment ``after``, such as after a broken connection."""

    type: Literal["follow"]
    turn_id: UUID
    after: int = Field(default=0, ge=0, lt=10**SEQ_DIGITS)


class SocketReady(Document):
    """Answer to ``hello``."""

    type: Literal["ready"] = "ready"
    conversation_id: str


class SocketAccepted(Document):
    """A message was stored; its answer follows under ``turn_id``."""

    type: Literal["accepted"] = "accepted"
    turn_id: str
    ref: str | None = None


class SocketSegment(Segment):
    """As the event ``segment``."""

    type: Literal["segment"] = "segment"
    turn_id: str


class SocketDone(TurnDone):
    """As the event ``done``. After the action ``close`` the service closes the socket."""

    type: Literal["done"] = "done"
    turn_id: str


class SocketError(TurnFailed):
    """A frame was refused (``ref`` when it had one), or a turn failed (``turn_id``)."""

    type: Literal["error"] = "error"
    turn_id: str | None = None
    ref: str | None = None
