"""OpenAI's chat completions as a scripted server: streaming with usage, tool calls, structured answers, faults.

Source: OpenAI API reference, "Create chat completion" and "Streaming": server-sent chunks, one usage chunk with empty
``choices`` when ``stream_options.include_usage`` is set, ``[DONE]`` last.
Fault kinds: ``status`` (401, 429, 500 …), ``cut`` (the connection ends after ``after_chunks`` chunks), ``slow``
(``seconds`` before every chunk), ``hold`` (``seconds`` after ``after_chunks`` chunks), ``hang`` (no answer for
``seconds``), ``models_status`` (as ``status``, on models).
What is said is the business of ``script.py``.
"""

import contextlib
import itertools
import json
import re
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from hack.fakes.faults import Fault, Faults
from hack.fakes.script import DEFAULT, Rule, Spoken, answer
from hack.fakes.server import application, serving

KINDS = frozenset({"status", "cut", "slow", "hold", "hang", "models_status"})
MODELS = ("gpt-4o-mini", "gpt-4.1-mini", "gpt-5-mini")
ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
ERROR_TYPES = {401: "invalid_request_error", 429: "rate_limit_exceeded"}


@dataclass
class FakeOpenAi:
    """The provider. ``url`` is the SDK's base URL, ending in ``/v1``; ``requests`` are the bodies taken in order."""

    api_key: str
    faults: Faults
    now: Callable[[], float]
    rules: Sequence[Rule] = DEFAULT
    requests: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""
    #: The key may chat and nothing else.
    restricted: bool = False

    def fault(self, kind: str, **options: Any) -> None:
        """Queue a fault; the options are those of ``faults.Fault``."""
        self.faults.add(Fault(kind=kind, **options))

    def script(self, *rules: Rule) -> None:
        """Let these rules go before the default ones."""
        self.rules = (*rules, *DEFAULT)


def build_app(fake: FakeOpenAi) -> web.Application:
    """The application around one provider; ``PUT /script`` puts rules before the default ones, ``GET /requests`` shows
    what was asked."""

    async def complete(request: web.Request) -> web.StreamResponse:
        return await _complete(fake, request)

    async def models(request: web.Request) -> web.Response:
        return _models_refusal(fake, request) or web.json_response({"object": "list", "data": [*map(_model, MODELS)]})

    async def one_model(request: web.Request) -> web.Response:
        name = request.match_info["model"]
        if refused := _models_refusal(fake, request):
            return refused
        if name not in MODELS:
            return _error(404, f"The model '{name}' does not exist", code="model_not_found")
        return web.json_response(_model(name))

    async def put_script(request: web.Request) -> web.Response:
        try:
            fake.script(*TypeAdapter(list[Rule]).validate_json(await request.read()))
        except ValidationError as exc:
            return web.json_response({"message": str(exc)}, status=400)
        return web.Response(status=204)

    async def shown(_: web.Request) -> web.Response:
        return web.json_response(fake.requests)

    routes = (
        web.post("/v1/chat/completions", complete),
        web.get("/v1/models", models),
        web.get("/v1/models/{model}", one_model),
        web.put("/script", put_script),
        web.get("/requests", shown),
    )
    return application(fake.faults, routes, body_bytes=10 * 2**20)


@contextlib.asynccontextmanager
async def start_openai(
    *,
    api_key: str,
    rules: Sequence[Rule] = DEFAULT,
    host: str = "127.0.0.1",
    port: int = 0,
    now: Callable[[], float] = time.time,
) -> AsyncIterator[FakeOpenAi]:
    """Run the fake until the block ends; ``now`` in epoch seconds."""
    fake = FakeOpenAi(api_key, Faults(KINDS), now, rules)
    async with serving(build_app(fake), host=host, port=port) as url:
        fake.url = f"{url}/v1"
        try:
            yield fake
        finally:
            fake.faults.closing.set()


async def _complete(fake: FakeOpenAi, request: web.Request) -> web.StreamResponse:
    if refused := _unauthorised(fake, request):
        return refused
    if fault := fake.faults.take("status", "hang"):
        if fault.kind == "hang":
            await fake.faults.wait(fault.seconds)
        return _error(fault.status, f"fault on request: {fault.kind}", retry_after=fault.retry_after)
    try:
        body = json.loads(await request.read())
        _demand_wellformed(body)
        spoken = answer(fake.rules, body)
    except ValueError as exc:
        return _error(400, str(exc))
    except LookupError as exc:
        return _error(500, str(exc))
    fake.requests.append(body)
    if body.get("stream"):
        return await _stream(fake, request, body, spoken)
    return web.json_response(_completion(body, spoken, fake.now()))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1721172741, "owned_by": "system"}


def _models_refusal(fake: FakeOpenAi, request: web.Request) -> web.Response | None:
    if refused := _unauthorised(fake, request):
        return refused
    if fake.restricted:
        return _error(403, "You have insufficient permissions for this operation. Missing scopes: api.model.read.")
    fault = fake.faults.take("models_status")
    return _error(fault.status, "fault on request", retry_after=fault.retry_after) if fault else None


def _unauthorised(fake: FakeOpenAi, request: web.Request) -> web.Response | None:
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    if secrets.compare_digest(given.encode(), fake.api_key.encode()):
        return None
    return _error(401, "Incorrect API key provided.", code="invalid_api_key")


def _error(status: int, message: str, *, code: str | None = None, retry_after: int | None = None) -> web.Response:
    kind = ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response({"error": error}, status=status, headers=headers)


def _demand_wellformed(body: Any) -> None:
    """The checks of the real API that a client can get wrong. Raises ValueError with the API's words."""
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise ValueError("you must provide a model parameter")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise ValueError("Missing required parameter: 'messages'.")
    asked: set[str] = set()
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise ValueError(f"Invalid value for 'messages[{index}].role'.")
        asked |= {call["id"] for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message.get("tool_call_id") not in asked:
            raise ValueError(f"messages[{index}]: 'tool' must be a response to a preceding message with 'tool_calls'.")


def _usage(body: dict[str, Any], spoken: Spoken) -> dict[str, int]:
    """A word is a token here; real tokenisers differ, the fields do not."""
    asked = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
    said = len((spoken.content or json.dumps(spoken.tool.arguments if spoken.tool else {})).split())
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _tool_calls(spoken: Spoken) -> list[dict[str, Any]] | None:
    if spoken.tool is None:
        return None
    function = {"name": spoken.tool.name, "arguments": json.dumps(spoken.tool.arguments)}
    return [{"id": f"call_{secrets.token_hex(12)}", "type": "function", "function": function}]


def _completion(body: dict[str, Any], spoken: Spoken, now: float) -> dict[str, Any]:
    calls = _tool_calls(spoken)
    message = {"role": "assistant", "content": spoken.content, "refusal": None} | (
        {"tool_calls": calls} if calls else {}
    )
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(now),
        "model": body["model"],
        "choices": [choice],
        "usage": _usage(body, spoken),
    }


def _deltas(spoken: Spoken) -> list[dict[str, Any]]:
    """The answer cut into deltas, about a word each."""
    role = {"role": "assistant", "content": "" if spoken.content is not None else None}
    calls = _tool_calls(spoken)
    if calls:
        call = calls[0]
        arguments = call["function"]["arguments"]
        opened = {**call, "index": 0, "function": {"name": call["function"]["name"], "arguments": ""}}
        halves = (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :])
        rest = [{"tool_calls": [{"index": 0, "function": {"arguments": half}}]} for half in halves]
        return [role | {"tool_calls": [opened]}, *rest]
    return [role, *({"content": piece} for piece in re.findall(r"\S+\s*|\s+", spoken.content or ""))]


async def _stream(fake: FakeOpenAi, request: web.Request, body: dict[str, Any], spoken: Spoken) -> web.StreamResponse:
    fault = fake.faults.take("cut", "slow", "hold")
    base = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion.chunk",
        "created": int(fake.now()),
        "model": body["model"],
    }
    include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    nothing: dict[str, Any] = {"usage": None} if include_usage else {}
    finish = "tool_calls" if spoken.tool else "stop"
    steps = itertools.chain(((delta, None) for delta in _deltas(spoken)), [({}, finish)])
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for sent, (delta, reason) in enumerate(steps):
        if fault and fault.kind == "cut" and sent >= fault.after_chunks:
            if request.transport is not None:
                request.transport.abort()
            return response
        if fault and (fault.kind == "slow" or (fault.kind == "hold" and sent == fault.after_chunks)):
            await fake.faults.wait(fault.seconds)
            if request.transport is None:
                return response  # the reader would not wait so long
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        await _chunk(response, base | {"choices": [choice]} | nothing)
    if include_usage:
        await _chunk(response, base | {"choices": [], "usage": _usage(body, spoken)})
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response


async def _chunk(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n")
