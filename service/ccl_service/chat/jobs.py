"""Works the turns: asks the agent, shows its sentences one by one, and records the result under the claim."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from ccl_contract.chat import ChatAction
from ccl_service.agents.model import Finished, Run, Sentence, Situation
from ccl_service.agents.realtime_chat import AGENT, MAX_LINES, RealtimeChat
from ccl_service.agents.service import record_run
from ccl_service.chat import sql
from ccl_service.chat.model import MOVES, Context, ConversationState
from ccl_service.chat.toolbox import ACTOR, TurnTools
from ccl_service.leads import service as leads
from ccl_service.leads.model import EventKind
from ccl_service.leads.redaction import redact
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, always
from ccl_service.platform.telemetry import Count, uncounted
from ccl_service.platform.work import Queue, Work, WorkLoop

#: Longer than one request to the model; the loop renews it at a third. A visitor waits that long when a process dies in
#: the middle of an answer.
LEASE: Final = timedelta(seconds=30)
#: How soon a turn looks again whether the one before it is answered.
BEHIND: Final = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True)
class TurnWorker:
    """Answers claimed turns."""

    db: Db
    queue: Queue
    agent: RealtimeChat
    intake: leads.Leads
    now: Callable[[], datetime]
    new_id: Callable[[], UUID]
    count: Count = uncounted

    async def handle(self, work: Work) -> None:
        """Answer one turn. A lost claim, or a conversation that was closed meanwhile, ends it without a word."""
        context = await sql.context(self.db, work.id)
        if context.blocked:
            await self.queue.park(work, BEHIND)
            return
        if context.state is ConversationState.CLOSED:
            await self._finish(work, context, ChatAction.CLOSE, None, self.now())
            return
        started = self.now()
        spoken = await self._speak(work, context)
        if spoken is None:
            await self._finish(work, context, ChatAction.CONTINUE, None, started)
        else:
            await self._finish(work, context, spoken.action, spoken.run, started)

    async def _speak(self, work: Work, context: Context) -> Finished | None:
        """Show the answer sentence by sentence. None when control was taken away in the middle of it."""
        situation = await self._situation(context)
        tools = TurnTools(self.db, self.intake, work.id, context, situation, self.now)
        seq = len(context.said)
        async with contextlib.aclosing(self.agent.answer(situation, tools)) as events:
            async for event in events:
                match event:
                    case Sentence(text):
                        seq += 1
                        if not await sql.add_segment(
                            self.db, work.id, work.claim, context.control_epoch, seq=seq, text=redact(text)
                        ):
                            return None
                    case Finished():
                        return event
        return None

    async def _situation(self, context: Context) -> Situation:
        history = await sql.history(self.db, context.conversation_id, context.turn, limit=MAX_LINES)
        lead = await leads.contact(self.db, context.lead_id) if context.lead_id else None
        known = context.phone_given or bool(lead and lead["phone"])
        return Situation(history, phone_known=known, said=len(context.said))

    async def _finish(
        self, work: Work, context: Context, action: ChatAction, run: Run | None, started: datetime
    ) -> None:
        async with self.db.transaction() as tx:
            finish = await sql.finish(tx, work.id, work.claim, action)
            if finish is None:
                return
            closed = await _move(tx, context.conversation_id, action)
            if run is not None:
                await record_run(
                    tx,
                    run,
                    run_id=self.new_id(),
                    agent=AGENT,
                    turn_id=work.id,
                    lead_id=finish.lead_id,
                    started_at=started,
                    finished_at=self.now(),
                )
            if finish.lead_id is not None:
                await _tell_lead(tx, finish.lead_id, context, action, run, closed=closed)
        if run is not None:
            self.count("ccl_chat_turns", run.outcome)


async def _tell_lead(
    tx: Db, lead_id: UUID, context: Context, action: ChatAction, run: Run | None, *, closed: bool
) -> None:
    """The timeline holds what happened and how, never what was said."""
    told = {"conversation": str(context.conversation_id), "turn": context.turn}
    if run is not None:
        data = told | {"outcome": str(run.outcome), "action": str(action)}
        await leads.record(tx, lead_id, EventKind.CHAT_REPLY, ACTOR, data=data)
    if closed:
        await leads.record(tx, lead_id, EventKind.CHAT_CLOSED, ACTOR, data=told)


async def _move(tx: Db, conversation_id: UUID, action: ChatAction) -> bool:
    """Take the conversation where the answer leads. True when that closed it."""
    target = MOVES[ConversationState.OPEN, action]
    sources = [state for state in ConversationState if MOVES[state, action] is target]
    return await sql.move(tx, conversation_id, target, sources) and target is ConversationState.CLOSED


def turn_loop(
    db: Db,
    agent: RealtimeChat,
    intake: leads.Leads,
    *,
    now: Callable[[], datetime],
    new_id: Callable[[], UUID],
    slots: int = 8,
    lease: timedelta = LEASE,
    count: Count = uncounted,
    fits: Fits = always,
) -> WorkLoop:
    """The background loop that answers turns; ``slots`` of them at a time."""
    queue = Queue(db, sql.TURNS, count)
    worker = TurnWorker(db, queue, agent, intake, now, new_id, count)
    return WorkLoop(queue, worker.handle, lease=lease, slots=slots, poll=timedelta(milliseconds=150), fits=fits)
