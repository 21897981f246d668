"""A model behind OpenAI's chat completions: the only module that touches the SDK, whose errors end here.

Owns time-outs (the SDK's default is 600 s), strict schemas and usage; what is asked and said belongs to the agent.
Importing it costs half a second and 20 MB, so only a process that asks a model does.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import openai
from openai.lib._pydantic import to_strict_json_schema
from openai.types.chat import ChatCompletionChunk, ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from openai.types.shared_params import ResponseFormatJSONSchema
from pydantic import BaseModel, SecretStr

from ccl_service.agents.model import Usage
from ccl_service.agents.provider import Ended, ProviderFailed, Text, ToolCall
from ccl_service.agents.tools import Tool

#: Seconds: to connect, between two chunks, and for one whole request. A visitor waits meanwhile.
CONNECT_SECONDS: Final = 3.0
CHUNK_SECONDS: Final = 8.0
REQUEST_SECONDS: Final = 25.0
MAX_COMPLETION_TOKENS: Final = 600
#: OpenAI's rule of thumb for English text, used when a stream ends without its usage chunk.
CHARACTERS_PER_TOKEN: Final = 4

_REASONS: Final = MappingProxyType(
    {
        openai.AuthenticationError: "unauthorised",
        openai.PermissionDeniedError: "unauthorised",
        openai.RateLimitError: "rate_limited",
        openai.BadRequestError: "refused",
        openai.NotFoundError: "refused",
        openai.UnprocessableEntityError: "refused",
        openai.InternalServerError: "unavailable",
        openai.APITimeoutError: "timeout",
        openai.APIConnectionError: "unreachable",
    }
)


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """Which model, where."""

    api_key: SecretStr
    base_url: str
    model: str
    chunk_seconds: float = CHUNK_SECONDS
    request_seconds: float = REQUEST_SECONDS


class ChatModel:
    """A configured model. Close it when done."""

    def __init__(self, settings: ModelSettings) -> None:
        self.name = settings.model
        self._request_seconds = settings.request_seconds
        self._client = openai.AsyncOpenAI(
            api_key=settings.api_key.get_secret_value(),
            base_url=settings.base_url,
            max_retries=0,
            timeout=openai.Timeout(settings.chunk_seconds, connect=CONNECT_SECONDS),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def stream(
        self,
        messages: Sequence[ChatCompletionMessageParam],
        *,
        tools: Mapping[str, Tool],
        answer: type[BaseModel],
    ) -> AsyncGenerator[Text | Ended]:
        """As ``provider.Model.stream``."""
        collected = _Collected()
        try:
            with _translated():
                async with contextlib.aclosing(
                    self._chunks(messages, tool_schemas(tools), response_format(answer))
                ) as chunks:
                    async for chunk in chunks:
                        if text := collected.add(chunk):
                            yield Text(text)
            ended = collected.ended(messages)
        except ProviderFailed as failed:
            failed.usage = collected.usage(messages) if collected.begun else Usage()
            raise
        yield ended

    async def _chunks(
        self,
        messages: Sequence[ChatCompletionMessageParam],
        tools: Sequence[ChatCompletionFunctionToolParam],
        response_format: ResponseFormatJSONSchema,
    ) -> AsyncGenerator[ChatCompletionChunk]:
        """The chunks of one request. No ``yield`` stands inside a time-out (PEP 789): it would go off while the
        consumer runs, and cancel the consumer in place of the request."""
        deadline = asyncio.get_running_loop().time() + self._request_seconds
        async with asyncio.timeout_at(deadline):
            stream = await self._create(messages, tools, response_format)
        async with stream:
            chunks = aiter(stream)
            while True:
                async with asyncio.timeout_at(deadline):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk

    async def _create(
        self,
        messages: Sequence[ChatCompletionMessageParam],
        tools: Sequence[ChatCompletionFunctionToolParam],
        response_format: ResponseFormatJSONSchema,
    ) -> openai.AsyncStream[ChatCompletionChunk]:
        return await self._client.chat.completions.create(
            model=self.name,
            messages=list(messages),
            tools=list(tools),
            response_format=response_format,
            parallel_tool_calls=False,
            max_completion_tokens=MAX_COMPLETION_TOKENS,
            store=False,
            stream=True,
            stream_options={"include_usage": True},
        )


def tool_schemas(tools: Mapping[str, Tool]) -> list[ChatCompletionFunctionToolParam]:
    """The tools as strict function schemas."""
    return [openai.pydantic_function_tool(tool.arguments, name=name) for name, tool in tools.items()]


def response_format(answer: type[BaseModel]) -> ResponseFormatJSONSchema:
    """A strict response format; the schema keeps the order of the fields."""
    schema: dict[str, Any] = to_strict_json_schema(answer)
    return {"type": "json_schema", "json_schema": {"name": answer.__name__, "strict": True, "schema": schema}}


class _Collected:
    """What a stream has brought so far."""

    def __init__(self) -> None:
        self._calls: dict[int, ToolCall] = {}
        self._characters = 0
        self._finish: str | None = None
        self._usage: Usage | None = None
        self.begun = False

    def add(self, chunk: ChatCompletionChunk) -> str:
        """Take a chunk in; returns its content, which may be empty."""
        self.begun = True
        if chunk.usage is not None:
            self._usage = Usage(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self._finish = choice.finish_reason or self._finish
        for part in choice.delta.tool_calls or ():
            known = self._calls.get(part.index, ToolCall("", "", ""))
            function = part.function
            self._calls[part.index] = ToolCall(
                part.id or known.id,
                (function and function.name) or known.name,
                known.arguments + ((function and function.arguments) or ""),
            )
        text = choice.delta.content or ""
        self._characters += len(text)
        return text

    def ended(self, messages: Sequence[ChatCompletionMessageParam]) -> Ended:
        """The end. Raises ProviderFailed when the stream stopped without a reason to finish."""
        if self._finish is None:
            # a proxy that dies closes the stream as politely as a model that is done
            raise ProviderFailed("cut")
        if self._finish in ("length", "content_filter"):
            raise ProviderFailed("bad_answer")
        calls = tuple(self._calls[index] for index in sorted(self._calls))
        return Ended(calls, self.usage(messages))

    def usage(self, messages: Sequence[ChatCompletionMessageParam]) -> Usage:
        """The provider's count, or an estimate when it did not arrive."""
        if self._usage is not None:
            return self._usage
        asked = sum(len(str(message.get("content") or "")) for message in messages)
        return Usage(asked // CHARACTERS_PER_TOKEN, self._characters // CHARACTERS_PER_TOKEN, estimated=True)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except TimeoutError as exc:
        raise ProviderFailed("timeout") from exc
    except openai.OpenAIError as exc:
        reason = next((text for kind, text in _REASONS.items() if isinstance(exc, kind)), "unavailable")
        raise ProviderFailed(reason) from exc
    except (ValueError, KeyError) as exc:
        raise ProviderFailed("bad_answer") from exc
