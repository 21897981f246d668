"""The fake OpenAI keeps the protocol that the official SDK speaks."""

import asyncio
import json
from typing import Any

import aiohttp
import openai
import pytest

from hack.fakes.openai import FakeOpenAi, start_openai
from hack.fakes.script import Rule, ToolUse

SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"action": {"type": "string"}, "reply": {"type": "string"}},
            "required": ["action", "reply"],
            "additionalProperties": False,
        },
    },
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "record_phone", "parameters": {"type": "object", "properties": {}}}}
]


def client(fake: FakeOpenAi, key: str = "sk-1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(api_key=key, base_url=fake.url, max_retries=0, timeout=5)


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


async def test_a_structured_answer_puts_action_before_reply() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        done = await sdk.chat.completions.create(
            model="gpt-4o-mini", messages=user("my credit is bad"), response_format=SCHEMA
        )
        answer = json.loads(done.choices[0].message.content or "")
        assert list(answer) == ["action", "reply"]
        assert "phone number" in answer["reply"]
        assert done.usage is not None
        assert done.usage.total_tokens == done.usage.prompt_tokens + done.usage.completion_tokens


async def test_a_stream_adds_up_to_the_plain_answer_and_ends_with_usage() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        plain = await sdk.chat.completions.create(model="m", messages=user("hello"))
        stream = await sdk.chat.completions.create(
            model="m", messages=user("hello"), stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == plain.choices[0].message.content
        assert chunks[-1].choices == []
        assert chunks[-1].usage == plain.usage


async def test_a_tool_is_called_only_when_offered_and_the_reply_follows_its_result() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        asked = user("yes, call me on 555-201-0142")
        without = await sdk.chat.completions.create(model="m", messages=asked)
        assert without.choices[0].message.tool_calls is None
        called = await sdk.chat.completions.create(model="m", messages=asked, tools=TOOLS)
        calls = called.choices[0].message.tool_calls
        assert calls is not None
        assert calls[0].type == "function"
        assert json.loads(calls[0].function.arguments) == {"phone": "555-201-0142", "consent": True}
        result = {"role": "tool", "tool_call_id": calls[0].id, "content": "{}"}
        after: Any = [*asked, called.choices[0].message.model_dump(exclude_none=True), result]
        done = await sdk.chat.completions.create(model="m", messages=after, tools=TOOLS)
        assert "noted your number" in (done.choices[0].message.content or "")


async def test_streamed_tool_arguments_arrive_in_pieces() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        stream = await sdk.chat.completions.create(model="m", messages=user("555 201 0142"), tools=TOOLS, stream=True)
        pieces = [
            call.function.arguments
            async for chunk in stream
            for call in chunk.choices[0].delta.tool_calls or ()
            if call.function and call.function.arguments
        ]
        assert len(pieces) > 1
        assert json.loads("".join(pieces))["phone"] == "555 201 0142"


async def test_a_script_goes_before_the_default_rules() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        rule = Rule(match="hello", reply={"reply": "scripted"}, tool=ToolUse(name="none"))
        async with (
            aiohttp.ClientSession() as session,
            session.put(fake.url.removesuffix("/v1") + "/script", json=[rule.model_dump()]) as put,
        ):
            assert put.status == 204
        done = await sdk.chat.completions.create(model="m", messages=user("Hello"))
        assert done.choices[0].message.content == "scripted"


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, openai.AuthenticationError), (429, openai.RateLimitError), (500, openai.InternalServerError)],
)
async def test_status_faults_reach_the_sdk_as_its_own_errors(status: int, error: type[Exception]) -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        fake.fault("status", status=status)
        with pytest.raises(error):
            await sdk.chat.completions.create(model="m", messages=user("hi"))
        await sdk.chat.completions.create(model="m", messages=user("hi"))


async def test_a_wrong_key_and_a_message_out_of_order_are_refused() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake, key="sk-2") as stranger, client(fake) as sdk:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()
        assert "gpt-4o-mini" in {model.id async for model in await sdk.models.list()}
        orphan: Any = [*user("hi"), {"role": "tool", "tool_call_id": "call_x", "content": ""}]
        with pytest.raises(openai.BadRequestError):
            await sdk.chat.completions.create(model="m", messages=orphan)


async def test_a_cut_stream_ends_with_a_connection_error_after_its_first_chunks() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        fake.fault("cut", after_chunks=3)
        stream = await sdk.chat.completions.create(model="m", messages=user("hi"), stream=True)
        got = [await anext(stream) for _ in range(3)]
        with pytest.raises(openai.APIConnectionError):
            await anext(stream)
        assert len(got) == 3


async def test_a_held_stream_stops_after_its_first_chunks() -> None:
    async with start_openai(api_key="sk-1") as fake, client(fake) as sdk:
        fake.fault("hold", after_chunks=3, seconds=600)
        stream = await sdk.chat.completions.create(model="m", messages=user("hi"), stream=True)
        assert len([await anext(stream) for _ in range(3)]) == 3
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.2)
