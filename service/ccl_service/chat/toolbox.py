"""The side effects that Cathy may have in a turn. Each happens once per turn, however often the turn is worked."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from pydantic_core import PydanticCustomError

from ccl_service.agents.model import Situation, ToolResult
from ccl_service.agents.realtime_chat import AGENT
from ccl_service.chat import sql
from ccl_service.chat.model import Context
from ccl_service.leads import service as leads
from ccl_service.leads.model import Consent, EventKind, LeadDraft, Source, normal_phone
from ccl_service.platform.db import Db

ACTOR: Final = f"agent:{AGENT}"
#: A visitor who gives a number without a name. Sales staff read it as what it is.
UNNAMED: Final = "Chat visitor"
_RECORDED: Final = ToolResult(True, "recorded")
_NOT_A_PHONE: Final = ToolResult(False, "that is not a valid phone number; ask for it again")


@dataclass(frozen=True, slots=True)
class TurnTools:
    """The toolbox of one turn."""

    db: Db
    intake: leads.Leads
    turn_id: UUID
    context: Context
    situation: Situation
    now: Callable[[], datetime]

    async def record_phone(self, phone: str, *, consent: bool) -> ToolResult:
        """Store the number on the lead, or make a lead of an anonymous visitor. Refused without consent."""
        if not consent:
            return ToolResult(False, "ask first whether a specialist may call on this number")
        try:
            number = normal_phone(phone)
        except PydanticCustomError:
            return _NOT_A_PHONE
        if self.context.lead_id is None:
            return await self._take_in(number)
        async with self.db.transaction() as tx:
            if not await sql.add_phone_effect(tx, self.turn_id, number):
                return _RECORDED
            await leads.store_phone(tx, self.context.lead_id, number, consent=self._consent(), actor=ACTOR)
            await sql.phone_given(tx, self.context.conversation_id, None)
        return _RECORDED

    async def request_handoff(self, reason: str) -> ToolResult:  # noqa: ARG002 - free text of a model is not kept
        """Note on the lead's timeline that a person was asked for; the turn's action does the rest."""
        async with self.db.transaction() as tx:
            if not await sql.add_effect(tx, self.turn_id, sql.HANDOFF_EFFECT):
                return _RECORDED
            if self.context.lead_id is not None:
                data = {"conversation": str(self.context.conversation_id), "turn": self.context.turn}
                await leads.record(tx, self.context.lead_id, EventKind.CHAT_HANDOFF, ACTOR, data=data)
        return _RECORDED

    async def _take_in(self, number: str) -> ToolResult:
        draft = LeadDraft(first_name=UNNAMED, phone=number, consent=self._consent(), source=Source.CHAT)
        outcome = await self.intake.accept(draft, actor=ACTOR)
        async with self.db.transaction() as tx:
            await sql.add_phone_effect(tx, self.turn_id, number)
            # A number that somebody else's lead has is weak evidence of who is writing: nobody is bound to a person
            # that was known before.
            bound = outcome.id if outcome.created else None
            await sql.phone_given(tx, self.context.conversation_id, bound)
        return _RECORDED

    def _consent(self) -> Consent:
        """The question and the answer, as given, are the proof."""
        text = f"Asked: {self.situation.asked}\nAnswered: {self.situation.message}"
        return Consent(text=text[:4000], at=self.now())
