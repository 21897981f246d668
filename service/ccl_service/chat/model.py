"""Conversations and turns: types, the state table, the bodies of the HTTP API. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, Json, StringConstraints

from ccl_contract.chat import ChatAction, Segment, TurnDone, TurnFailed
from ccl_service.platform.fields import NOT_BLANK, CleanText
from ccl_service.platform.problems import Conflict

MAX_MESSAGE: Final = 4000
#: A message in the longest JSON escapes (twelve bytes for one character), and what is around it.
MOST_BYTES: Final = 49_152
_SHOWN: Final = "eyJsIjoiMGIwZTdlMGUifQ.c2lnbmF0dXJl"


class ConversationState(StrEnum):
    """Where a conversation stands. ``handed_off``: a person was asked for; Cathy goes on until one takes over."""

    OPEN = "open"
    HANDED_OFF = "handed_off"
    CLOSED = "closed"


_S = ConversationState
#: (state, what the answer asks for) → state. A closed conversation stays closed whatever a late answer says.
MOVES: Final[Mapping[tuple[ConversationState, ChatAction], ConversationState]] = MappingProxyType(
    {
        (_S.OPEN, ChatAction.CONTINUE): _S.OPEN,
        (_S.OPEN, ChatAction.HANDOFF): _S.HANDED_OFF,
        (_S.OPEN, ChatAction.CLOSE): _S.CLOSED,
        (_S.HANDED_OFF, ChatAction.CONTINUE): _S.HANDED_OFF,
        (_S.HANDED_OFF, ChatAction.HANDOFF): _S.HANDED_OFF,
        (_S.HANDED_OFF, ChatAction.CLOSE): _S.CLOSED,
        (_S.CLOSED, ChatAction.CONTINUE): _S.CLOSED,
        (_S.CLOSED, ChatAction.HANDOFF): _S.CLOSED,
        (_S.CLOSED, ChatAction.CLOSE): _S.CLOSED,
    }
)


class TurnState(StrEnum):
    """Where a turn stands."""

    QUEUED = "queued"
    DONE = "done"
    QUARANTINED = "quarantined"


class ConversationClosed(
    Conflict,
    code="CHAT_001",
    title="This conversation is closed",
    remedy="Open a new conversation with POST /api/chat/sessions.",
):
    """The conversation was closed, and stays so."""


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class OpenChat(_Body):
    """Body of ``POST /api/chat/sessions``."""

    return_token: Annotated[CleanText, Field(min_length=1, max_length=1000, examples=[_SHOWN])] | None = None


class Say(_Body):
    """Body of ``POST /api/chat``."""

    text: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_MESSAGE),
        Field(examples=["Can I still get the loan?"], json_schema_extra=NOT_BLANK),
    ]


class TurnEvent(BaseModel):
    """One event of a turn's stream; ``id`` only of segments."""

    model_config = ConfigDict(frozen=True)

    event: Literal["segment", "done", "error"]
    id: Annotated[str, Field(examples=["1"])] | None = None
    data: Annotated[Json[Segment | TurnDone | TurnFailed], Field(examples=['{"v":1,"seq":1,"text":"Hello."}'])]


@dataclass(frozen=True, slots=True)
class Context:
    """What working a turn needs to know. ``said``: segments that are stored already; ``blocked``: an earlier turn of
    the conversation is still unanswered."""

    conversation_id: UUID
    turn: int
    lead_id: UUID | None
    state: ConversationState
    control_epoch: int
    phone_given: bool
    said: tuple[str, ...]
    blocked: bool


@dataclass(frozen=True, slots=True)
class Finish:
    """A turn that was ended. ``lead_id``: whose conversation it is now; the turn itself may have bound it."""

    lead_id: UUID | None


@dataclass(frozen=True, slots=True)
class Progress:
    """A turn as its reader sees it: ``segments`` after the asked one, as (seq, text) in order."""

    state: TurnState
    action: ChatAction | None
    segments: tuple[tuple[int, str], ...]
