"""What an agent needs of a language model: one streamed request, and the ways in which it fails.

The SDK of a provider stays behind ``Model``; ``openai_chat`` has the one for OpenAI-compatible providers.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import BaseModel

from ccl_service.agents.model import Usage
from ccl_service.agents.tools import Tool
from ccl_service.platform.problems import CclError

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionMessageParam


class ProviderFailed(CclError, code="AGENT_001", title="The model gave no usable answer"):
    """An agent's model failed. No caller meets this: rules answer instead, and the code stands in logs.

    ``reason``: unauthorised, rate_limited, refused, unavailable, timeout, unreachable, cut (the stream ended early) or
    bad_answer.
    """

    def __init__(self, reason: str, usage: Usage | None = None) -> None:
        """``usage``: what the failed request has probably cost."""
        super().__init__(reason)
        self.reason = reason
        self.usage = usage or Usage()


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer's content."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A whole tool call; ``arguments`` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The regular end of a stream."""

    tool_calls: tuple[ToolCall, ...]
    usage: Usage


class Model(Protocol):
    """A configured model."""

    @property
    def name(self) -> str:
        """As the provider calls it."""

    def stream(
        self,
        messages: "Sequence[ChatCompletionMessageParam]",
        *,
        tools: Mapping[str, Tool],
        answer: type[BaseModel],
    ) -> AsyncGenerator[Text | Ended]:
        """Ask once for an ``answer``: pieces of its JSON as they come, then one ``Ended``.

        Raises ProviderFailed, at any point.
        """
        ...
