"""What the chat brings to a process: its routes, its services, the loop that answers turns."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import uuid4

from aiohttp import web

from ccl_service.agents.checks import agent_checks
from ccl_service.agents.provider import Model
from ccl_service.agents.realtime_chat import RealtimeChat
from ccl_service.agents.watched import WatchedModel
from ccl_service.chat.api import CHAT, ROUTES
from ccl_service.chat.jobs import turn_loop
from ccl_service.chat.service import Chat
from ccl_service.chat.sql import TURNS
from ccl_service.chat.ws import ROUTES as SOCKET
from ccl_service.chat.ws import SOCKETS
from ccl_service.leads.api import LEADS
from ccl_service.mail.service import suppress_person
from ccl_service.platform.dependencies import OPENAI
from ccl_service.platform.http import CLOCK, DB, KEYS, METRICS, SETTINGS
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.monitoring import CHECKS, PROBE, ROLE
from ccl_service.platform.observability import DEPENDENCIES
from ccl_service.platform.phase import Role


@contextlib.asynccontextmanager
async def open_chat(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """Needs the leads feature opened before. Without OPENAI_API_KEY Cathy is the rule-based stand-in."""
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(agent_checks(app[CHECKS], app[SETTINGS]))
        agent = RealtimeChat(await _open_model(app, stack))
        count = app[METRICS].count
        loop = turn_loop(app[DB], agent, app[LEADS], now=app[CLOCK], new_id=uuid4, count=count, fits=app[PROBE].fits)
        app[CHAT] = Chat(app[DB], app[KEYS], suppress_person, app[CLOCK], uuid4, loop.wake, count)
        app[SOCKETS] = Counter()
        yield (Worker("chat-turns", loop.run),)


async def _open_model(app: web.Application, stack: contextlib.AsyncExitStack) -> Model | None:
    """The configured model; none in a process that answers nobody."""
    settings = app[SETTINGS]
    if settings.openai_api_key is None or app[ROLE] is Role.WEB:
        return None
    from ccl_service.agents.openai_chat import ChatModel, ModelSettings  # noqa: PLC0415 - see that module's docstring

    model = ChatModel(ModelSettings(settings.openai_api_key, settings.openai_base_url, settings.openai_model))
    stack.push_async_callback(model.close)
    return WatchedModel(model, app[DEPENDENCIES].add(OPENAI))


FEATURE: Final = Feature("chat", (*ROUTES, *SOCKET), open_chat, tables=(TURNS,))
