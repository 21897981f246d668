"""A client of the API: thin, typed with the service's own models, for asyncio.

    async with connect("https://api.example.com", key=key) as ccl:
        made = await ccl.leads.create(LeadDraft(first_name="Ana", email="ana@example.com"))
        timeline = await ccl.leads.timeline(made.id)

    async with converse("https://api.example.com", return_token=token) as cathy:
        print(cathy.greeting, await cathy.say("Can I still get the loan?"))

A refusal is a ``Problem`` with the service's code, no answer is ``Unreachable``; both are an ``ApiError``.
What may be repeated without doing more is tried again where the answer says that this may help.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import aiohttp

from ccl_service.client.administration import Audit, Keys, Work
from ccl_service.client.chat import Chat, Conversation, Socket
from ccl_service.client.errors import ApiError, FieldProblem, NoAnswer, Problem, Unreachable
from ccl_service.client.leads import Leads
from ccl_service.client.monitoring import Monitoring
from ccl_service.client.public import Description, Mail
from ccl_service.client.transport import Retry, Transport

__all__ = [
    "ApiError",
    "Client",
    "Conversation",
    "FieldProblem",
    "NoAnswer",
    "Problem",
    "Retry",
    "Socket",
    "Unreachable",
    "connect",
    "converse",
]

RETRY: Final = Retry()


@dataclass(frozen=True, slots=True)
class Client:
    """The API, by what it is about."""

    leads: Leads
    chat: Chat
    keys: Keys
    audit: Audit
    work: Work
    monitoring: Monitoring
    mail: Mail
    description: Description


@contextlib.asynccontextmanager
async def connect(url: str, *, key: str | None = None, retry: Retry = RETRY) -> AsyncIterator[Client]:
    """A client of the service at the base URL ``url``, which shows ``key`` where it is given."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(url.rstrip("/") + "/", headers=headers) as session:
        transport = Transport(session, retry)
        yield Client(
            leads=Leads(transport),
            chat=Chat(transport),
            keys=Keys(transport),
            audit=Audit(transport),
            work=Work(transport),
            monitoring=Monitoring(transport),
            mail=Mail(transport),
            description=Description(transport),
        )


@contextlib.asynccontextmanager
async def converse(url: str, *, return_token: str | None = None) -> AsyncIterator[Conversation]:
    """A new conversation; a return token binds it to its lead. Raises Problem, Unreachable."""
    async with connect(url) as client:
        yield Conversation(client.chat, await client.chat.open(return_token))
