"""The service as the chat's tests see it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from aiohttp import ClientSession, web

from ccl_service.client import Conversation, converse
from ccl_service.leads import service as leads
from ccl_service.leads.api import LEADS
from ccl_service.leads.model import LeadDraft, LeadState
from ccl_service.leads.tokens import issue_return
from ccl_service.platform.db import Db
from ccl_service.platform.http import CLOCK, KEYS
from hack.fakes.openai import FakeOpenAi

OPENAI_KEY = "sk-of-the-service-tests"


@dataclass(frozen=True)
class Visit:
    """A visitor's conversation, and their own HTTP session for what no client would send."""

    chat: Conversation
    http: ClientSession


@contextlib.asynccontextmanager
async def visiting(url: str, *, return_token: str | None = None) -> AsyncIterator[Visit]:
    """A new conversation at the service's base URL."""
    async with converse(url, return_token=return_token) as chat:
        headers = {"Authorization": f"Bearer {chat.visitor_token}"}
        async with ClientSession(f"{url}/", headers=headers) as http:
            yield Visit(chat, http)


@dataclass(frozen=True)
class System:
    """The service under test. ``url`` is its base URL."""

    url: str
    db: Db
    openai: FakeOpenAi
    app: web.Application

    async def lead(
        self, *, phone: str | None = None, email: str | None = None, contacted: bool = True
    ) -> tuple[UUID, str]:
        """A lead and the token of its return link."""
        email = email or f"{uuid4().hex[:8]}@example.org"
        draft = LeadDraft(first_name="Dana", email=email, phone=phone)
        lead_id = (await self.app[LEADS].accept(draft, actor="test")).id
        async with self.db.transaction() as tx:
            if contacted:
                await leads.move(tx, lead_id, LeadState.CONTACTED, "test")
        return lead_id, issue_return(self.app[KEYS], lead_id, uuid4(), self.app[CLOCK]())

    async def kinds(self, lead_id: UUID) -> list[str]:
        """The kinds of a lead's events, oldest first."""
        return [str(event.kind) for event in await self.app[LEADS].timeline(lead_id)]

    async def state(self, lead_id: UUID) -> str:
        """The lead's state."""
        return str((await self.app[LEADS].get(lead_id))["state"])

    async def one(self, sql: str, *args: object) -> Any:
        """The only row of a query."""
        rows = await self.db.fetch(sql, *args)
        assert len(rows) == 1
        return rows[0]
