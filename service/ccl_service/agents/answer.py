"""Reads a structured answer while it is still being written, and cuts it into sentences. Pure."""

import re
from typing import Final

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ccl_contract.chat import ChatAction
from ccl_service.platform.fields import without_controls

MAX_REPLY: Final = 2000
_BOUNDARY: Final = re.compile(r"(?<=[.!?…])[\"')\]]*\s+(?=\S)|\n+")


class ChatAnswer(BaseModel):
    """The form of the model's answer; ``action`` comes first, so that it is known before anything is shown."""

    model_config = ConfigDict(extra="forbid")

    action: ChatAction = Field(description="continue; handoff: a person is needed; close: the conversation is over")
    reply: str = Field(description="what the visitor reads: one to four short sentences")


class BadAnswer(ValueError):
    """The text is not a ChatAnswer."""


class AnswerReader:
    """Takes content in pieces, gives whole sentences back."""

    def __init__(self) -> None:
        self._content = ""
        self._released = 0

    @property
    def content(self) -> str:
        """All content so far."""
        return self._content

    def feed(self, piece: str) -> list[str]:
        """The sentences that became complete with this piece; none before ``action`` is there."""
        self._content += piece
        try:
            partial = pydantic_core.from_json(self._content, allow_partial="trailing-strings")
        except ValueError:
            return []  # half an escape, or nothing yet: the next piece tells
        if not isinstance(partial, dict) or "action" not in partial or not isinstance(partial.get("reply"), str):
            return []
        return self._cut(partial["reply"], last=False)

    def finish(self) -> tuple[ChatAction, list[str]]:
        """The action and the sentences not yet given back. Raises BadAnswer."""
        try:
            answer = ChatAnswer.model_validate_json(self._content)
        except ValidationError as exc:
            raise BadAnswer("not a chat answer") from exc
        if not answer.reply.strip():
            raise BadAnswer("an empty reply")
        return answer.action, self._cut(answer.reply, last=True)

    def _cut(self, reply: str, *, last: bool) -> list[str]:
        # a visitor can talk a model into any character, and neither the database nor a terminal takes them all
        rest = without_controls(reply)[self._released : MAX_REPLY]
        pieces, start = [], 0
        for boundary in _BOUNDARY.finditer(rest):
            pieces.append(rest[start : boundary.end()].strip())
            start = boundary.end()
        if last:
            pieces.append(rest[start:].strip())
            start = len(rest)
        self._released += start
        return [piece for piece in pieces if piece]


def sentences(text: str) -> list[str]:
    """A whole text as sentences, in order."""
    pieces, start = [], 0
    for boundary in _BOUNDARY.finditer(text):
        pieces.append(text[start : boundary.end()].strip())
        start = boundary.end()
    return [piece for piece in (*pieces, text[start:].strip()) if piece]
