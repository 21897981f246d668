"""Use cases of the chat: open a conversation, say something, follow a turn.

A message is stored, and an opt-out takes effect, in one transaction before anybody is asked for an answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from ccl_contract.chat import ChatOpened
from ccl_service.agents.realtime_chat import GREETING
from ccl_service.agents.rules import Intent, intent
from ccl_service.chat import sql
from ccl_service.chat.model import ConversationClosed, Progress
from ccl_service.leads import service as leads
from ccl_service.leads.model import EventKind, Identity, LeadState
from ccl_service.leads.redaction import redact
from ccl_service.leads.tokens import read_return
from ccl_service.platform.auth import issue_visitor
from ccl_service.platform.db import Db
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import NotFound
from ccl_service.platform.telemetry import Count, uncounted

#: Who acts when a visitor writes.
VISITOR: Final = "visitor"


class OptOut(Protocol):
    """Suppresses a person on every channel; joins the caller's transaction, safe to repeat."""

    async def __call__(
        self, tx: Db, lead_id: UUID, actor: str, reason: str, *, told: str | None = None, also: Sequence[Identity] = ()
    ) -> bool:
        """Everything known of the lead, and ``also``; an id without a lead suppresses ``also`` alone.

        False when all of it was suppressed before.
        """


@dataclass(frozen=True, slots=True)
class Chat:
    """The visitor's side. ``wake`` tells a worker in this process that there is a turn."""

    db: Db
    keys: KeyRing
    opt_out: OptOut
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    wake: Callable[[], None]
    count: Count = uncounted

    async def open(self, return_token: str | None) -> ChatOpened:
        """Start a conversation, bound to a lead by the token of its mail. Raises LinkInvalid, NotFound."""
        now = self.now()
        link = read_return(self.keys, return_token, now) if return_token else None
        conversation_id = self.new_id()
        async with self.db.transaction() as tx:
            if link is not None and await leads.contact(tx, link.lead_id) is None:
                raise NotFound("the person behind this link is not known any more")
            await sql.open_conversation(
                tx,
                conversation_id,
                lead_id=link.lead_id if link else None,
                send_id=link.send_id if link else None,
                greeting=GREETING,
            )
            if link is not None:
                data = {"conversation": str(conversation_id)}
                await leads.record(tx, link.lead_id, EventKind.CHAT_STARTED, VISITOR, data=data)
                # Whoever holds the link has the mail, even if its provider has not told us yet.
                await leads.move(tx, link.lead_id, LeadState.CONTACTED, VISITOR, "came back by the link of the mail")
        token = issue_visitor(self.keys, str(conversation_id), now=now)
        return ChatOpened(visitor_token=token, conversation_id=str(conversation_id), greeting=GREETING)

    async def say(self, conversation_id: UUID, text: str) -> UUID:
        """Store what the visitor wrote, redacted; returns the id of the turn that answers it.

        Raises NotFound, ConversationClosed.
        """
        turn_id, kept = self.new_id(), redact(text)
        async with self.db.transaction() as tx:
            number = await sql.add_turn(tx, conversation_id, turn_id, kept)
            found = await sql.lead_of(tx, conversation_id)
            if found is None:
                raise NotFound("no such conversation")
            if number is None:
                raise ConversationClosed
            opted_out = await self._heed(tx, conversation_id, found[0], number, kept)
        if opted_out:
            self.count("ccl_opt_outs", "chat")
        self.wake()
        return turn_id

    async def _heed(self, tx: Db, conversation_id: UUID, lead_id: UUID | None, number: int, text: str) -> bool:
        """Do what the message asks for at once; whether that made somebody opt out who had not before."""
        opting_out = intent(text) is Intent.OPT_OUT
        if lead_id is not None:
            data = {"conversation": str(conversation_id), "turn": number, "characters": len(text)}
            await leads.record(tx, lead_id, EventKind.CHAT_MESSAGE, VISITOR, data=data)
        if opting_out:
            # an answer that is being spoken just now must not go on after "stop"
            await sql.take_control(tx, conversation_id)
            # A visitor who is bound to no lead stands for the numbers they gave, and for nothing else.
            given = await sql.phones_given(tx, conversation_id)
            return await self.opt_out(tx, lead_id or conversation_id, VISITOR, "opt_out", told="chat", also=given)
        if lead_id is not None:
            await leads.move(tx, lead_id, LeadState.ENGAGED, VISITOR, "answered in the chat")
        return False

    async def progress(self, conversation_id: UUID, turn_id: UUID, *, after: int) -> Progress:
        """A turn of this very conversation. Raises NotFound for any other."""
        progress = await sql.progress(self.db, turn_id, conversation_id, after)
        if progress is None:
            raise NotFound("no such turn")
        return progress
