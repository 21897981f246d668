"""Settles sends of unknown outcome by reading the provider's log, for when the webhook never comes.

Rows are picked with a due time that moves on, so that of several processes one looks; and every write names the state
and the mark that was judged, so that a late process changes nothing.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog

from ccl_service.leads import service as leads
from ccl_service.leads.model import EventKind
from ccl_service.mail import sql
from ccl_service.mail.model import MAX_ATTEMPTS, SAYS, SendEvent
from ccl_service.mail.service import ACTOR, apply_event, apply_fact, count_event
from ccl_service.mail.unknown import Judgement, Stretch, UnknownSend, judge, stretches
from ccl_service.mail.webhook import ProviderEvent
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.problems import CclError, TryLater
from ccl_service.platform.telemetry import Count, uncounted

log = structlog.get_logger(__name__)

POLL: Final = timedelta(seconds=5)
#: How soon the same send is looked for again.
LOOK_AGAIN: Final = timedelta(minutes=5)
#: Sends looked for at once.
BATCH: Final = 500
#: Reasons of a failed send that a human decides about.
REASON_LOST: Final = "unknown"
REASON_NEVER_TAKEN: Final = "gave_up:not_taken"


class Log(Protocol):
    """The provider's log."""

    def events(self, begin: datetime, end: datetime) -> AsyncGenerator[ProviderEvent]:
        """Events with a send id of ours, oldest first. Raises TryLater."""


class Reconciler:
    """Looks for unknown sends in the log of ``account``."""

    def __init__(
        self,
        db: Db,
        provider_log: Log,
        *,
        account: str,
        deployment: str | None,
        count: Count = uncounted,
        fits: Fits = always,
    ) -> None:
        """``fits`` is asked before each look (``platform.gate``)."""
        self._count = count
        self._db, self._log = db, provider_log
        self._account, self._deployment = account, deployment
        self._gate = Gate("unknown-sends", fits)
        self._away = False

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop`` is set."""
        while not stop.is_set():
            try:
                full = await self._gate.open() and await self.look() == BATCH
                self._away = False
            except CclError as error:
                full = False
                if not self._away:  # once, not at every poll
                    log.warning("unknown sends not looked at", action="mail.unknown.failed", code=error.code)
                self._away = True
            if not full:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), POLL.total_seconds())

    async def look(self) -> int:
        """Look once for what is due; how many that were. Raises TryLater when the database is away."""
        due = await sql.unknown_due(self._db, limit=BATCH, look_again=LOOK_AGAIN, deployment=self._deployment)
        for stretch in stretches(due):
            await self._settle(stretch)
        return len(due)

    async def _settle(self, stretch: Stretch) -> None:
        found, complete = await self._read(stretch)
        for send in stretch.sends:
            if send.id in found:
                continue
            match judge(send, account=self._account, complete=complete):
                case Judgement.NOT_TAKEN if send.attempts + 1 < MAX_ATTEMPTS:
                    await self._again(send)
                case Judgement.NOT_TAKEN:
                    await self._give_up(send, REASON_NEVER_TAKEN)
                case Judgement.LOST:
                    await self._give_up(send, REASON_LOST)
                case Judgement.WAIT:
                    pass

    async def _read(self, stretch: Stretch) -> tuple[set[UUID], bool]:
        """The sends that the log shows, their events applied; and whether it was read to the end."""
        wanted = {send.id for send in stretch.sends}
        found: set[UUID] = set()
        try:
            async with contextlib.aclosing(self._log.events(stretch.begin, stretch.end)) as events:
                async for event in events:
                    if event.send_id in wanted:
                        if await apply_event(self._db, event):
                            count_event(self._count, event)
                        found.add(event.send_id)
        except TryLater as error:
            log.warning("provider log not read", action="mail.unknown.log_away", reason=str(error), waiting=len(wanted))
            return found, False
        return found, True

    async def _again(self, send: UnknownSend) -> None:
        """Queue the same send once more."""
        async with self._db.transaction() as tx:
            lead_id = await sql.requeue_unknown(tx, send.id, send.sent_at)
            if lead_id is not None:
                data = {"send_id": str(send.id)}
                await leads.record(tx, lead_id, EventKind.MAIL_QUEUED, ACTOR, reason="not_taken", data=data)
        log.info("absence proven", action="mail.unknown.not_taken", send_id=str(send.id))

    async def _give_up(self, send: UnknownSend, reason: str) -> None:
        async with self._db.transaction() as tx:
            if await sql.lock_unknown(tx, send.id, send.sent_at):
                await apply_fact(tx, send.id, SendEvent.REFUSE, actor=ACTOR, reason=reason)
                self._count("ccl_sends", SAYS[SendEvent.REFUSE])
        log.error("send given up", action="mail.unknown.given_up", send_id=str(send.id), reason=reason)
