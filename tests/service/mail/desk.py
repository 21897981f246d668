"""One lead with a queued send, and the steps of a worker, one at a time."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from ccl_service.leads.model import LeadDraft
from ccl_service.leads.service import Leads
from ccl_service.mail import sql
from ccl_service.mail.jobs import LEASE, Policy, Sender
from ccl_service.mail.model import Answer, Letter
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.work import Queue

ANN = LeadDraft(first_name="Ann", email="ann@example.com", zip="60601")
POLICY = Policy(
    sender="Cathy <cathy@mg.example.com>",
    postal_address="100 Example Street",
    link_base="https://loans.example.com",
    deployment=None,
    allowlist=None,
)


class Says:
    """A provider that gives one answer and remembers the letters."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.letters: list[Letter] = []

    async def send(self, letter: Letter) -> Answer:
        self.letters.append(letter)
        return self.answer


class Desk:
    """One lead with a queued send, and the steps of a worker."""

    def __init__(self, db: Any, keys: KeyRing) -> None:
        self.db, self.keys = db, keys
        self.queue = Queue(db, sql.SENDS)
        contacts = FirstContacts(new_id=uuid4, wake=lambda: None)
        self.leads = Leads(db, contacts, now=lambda: datetime.now(UTC), new_id=uuid4)
        self.lead = UUID(int=0)

    async def take_in(self, draft: LeadDraft = ANN) -> None:
        self.lead = (await self.leads.accept(draft, actor="api")).id

    async def work(self, provider: Says | None, policy: Policy = POLICY) -> None:
        sender = Sender(self.db, self.queue, provider, policy=policy, keys=self.keys, jitter=lambda: 0.0)
        for work in await self.queue.claim(uuid4(), LEASE, 10):
            await sender.handle(work)

    async def send(self) -> Any:
        return await self.db.fetchrow("SELECT *, due_at - now() AS wait FROM sends WHERE lead_id = $1", self.lead)

    async def due_now(self) -> None:
        await self.db.execute("UPDATE sends SET due_at = now()")

    async def kinds(self) -> list[str]:
        return [event.kind for event in await self.leads.timeline(self.lead)]
