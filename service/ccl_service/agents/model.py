"""The types that agents and their callers share. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Protocol

from ccl_contract.chat import ChatAction


class Speaker(StrEnum):
    """Who said a line of a conversation."""

    VISITOR = "visitor"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing said; the text is already redacted."""

    speaker: Speaker
    text: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What the agent may know of a conversation. ``history``: oldest first, ending with the visitor's message.

    ``said`` counts the sentences of this very answer that the visitor has already seen: an earlier process died while
    it was speaking. No personal data of the lead is in here, because whoever holds a forwarded link is talking.
    """

    history: tuple[Line, ...]
    phone_known: bool
    said: int = 0

    @property
    def message(self) -> str:
        """The visitor's message to answer."""
        return self.history[-1].text

    @property
    def asked(self) -> str:
        """The agent's line just before that message; empty at the start."""
        return next((line.text for line in reversed(self.history[:-1]) if line.speaker is Speaker.AGENT), "")


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool did. ``message`` is for the model: it holds no personal data."""

    ok: bool
    message: str


class Toolbox(Protocol):
    """Side effects that an agent may ask for. Each is safe to repeat within one turn."""

    async def record_phone(self, phone: str, *, consent: bool) -> ToolResult:
        """Store a phone number that the visitor gave, with their consent to be called on it."""

    async def request_handoff(self, reason: str) -> ToolResult:
        """Ask a person of the staff to take the conversation over."""


class Outcome(StrEnum):
    """How an answer came about."""

    ANSWERED = "answered"
    GUARDED = "guarded"
    RULE = "rule"
    STAND_IN = "stand_in"
    FELL_BACK = "fell_back"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. ``estimated`` when the provider's own count did not arrive."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    estimated: bool = False

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.estimated or other.estimated,
        )


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    prompt: float
    completion: float


#: Source: OpenAI's price list for these models. A model that is not listed has no known cost.
PRICES: Final[Mapping[str, Price]] = MappingProxyType(
    {
        "gpt-4o": Price(2.50, 10.00),
        "gpt-4o-mini": Price(0.15, 0.60),
        "gpt-4.1-mini": Price(0.40, 1.60),
        "gpt-4.1-nano": Price(0.10, 0.40),
    }
)


def cost_micros(model: str | None, usage: Usage) -> int | None:
    """Cost in millionths of a US dollar, rounded up to one; None when the price is not known."""
    price = PRICES.get(model or "")
    if price is None:
        return None
    return -int(-(usage.prompt_tokens * price.prompt + usage.completion_tokens * price.completion) // 1)


@dataclass(frozen=True, slots=True)
class Run:
    """The account of one answer. ``model`` is None when none was asked; ``error`` is the reason of a fall-back."""

    outcome: Outcome
    model: str | None = None
    usage: Usage = Usage()
    tools: tuple[str, ...] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Sentence:
    """A piece of the answer that may be shown now."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer."""

    action: ChatAction
    run: Run
