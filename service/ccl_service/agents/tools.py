"""The tools that a model may call: their typed arguments, the allow-list, and the call with its time-out.

What a tool does to the world is the caller's ``Toolbox``; nothing outside the allow-list is ever reached.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ccl_service.agents.model import Toolbox, ToolResult

TOOL_SECONDS: Final = 5.0


class RecordPhone(BaseModel):
    """Store the phone number the visitor gave. Only with consent=true when they agreed to be called on it."""

    model_config = ConfigDict(extra="forbid")

    phone: str = Field(description="the number as the visitor wrote it")
    consent: bool = Field(description="whether the visitor agreed to be called on this number")


class RequestHandoff(BaseModel):
    """Ask a person of the staff to take this conversation over."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(description="a few words, without personal data")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on the allow-list of an agent."""

    arguments: type[BaseModel]
    run: Callable[[Toolbox, Any], Awaitable[ToolResult]]


async def _record_phone(toolbox: Toolbox, arguments: RecordPhone) -> ToolResult:
    return await toolbox.record_phone(arguments.phone, consent=arguments.consent)


async def _request_handoff(toolbox: Toolbox, arguments: RequestHandoff) -> ToolResult:
    return await toolbox.request_handoff(arguments.reason)


REQUEST_HANDOFF: Final = "request_handoff"
#: RealtimeChat's allow-list.
CHAT_TOOLS: Final[Mapping[str, Tool]] = MappingProxyType(
    {"record_phone": Tool(RecordPhone, _record_phone), REQUEST_HANDOFF: Tool(RequestHandoff, _request_handoff)}
)


async def call(tools: Mapping[str, Tool], toolbox: Toolbox, name: str, arguments: str) -> ToolResult:
    """Run one tool call of a model. A name or arguments that are not allowed become a refusal the model can read."""
    tool = tools.get(name)
    if tool is None:
        return ToolResult(False, "there is no such tool")
    try:
        parsed = tool.arguments.model_validate_json(arguments)
    except ValidationError:
        return ToolResult(False, "the arguments are not valid")
    try:
        async with asyncio.timeout(TOOL_SECONDS):
            return await tool.run(toolbox, parsed)
    except TimeoutError:
        return ToolResult(False, "the tool took too long")
