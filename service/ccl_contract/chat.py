"""Events of a chat turn's stream (``GET /api/chat/turns/{id}/events``) and the bodies around it."""

from enum import StrEnum

from pydantic import Field

from ccl_contract.document import Document, Part


class ChatAction(StrEnum):
    """What happens after the reply."""

    CONTINUE = "continue"
    HANDOFF = "handoff"
    CLOSE = "close"


class ChatOpened(Part):
    """Answer to ``POST /api/chat/sessions``. ``greeting`` discloses that an AI is talking."""

    visitor_token: str
    conversation_id: str
    greeting: str


class TurnAccepted(Part):
    """Answer to ``POST /api/chat``."""

    turn_id: str


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
