"""Works the rows of ``sends``: holds, marks, asks the provider, records what it answered.

No connection is held while the provider is asked. Every step may be the last one of this process: before the mark
nothing was sent, after it the send is ``unknown`` until the provider tells.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, assert_never
from uuid import UUID

import structlog

from ccl_service.leads import service as leads
from ccl_service.leads.model import EventKind, identity
from ccl_service.leads.tokens import issue_return
from ccl_service.mail import sql
from ccl_service.mail.letters import Facts, render
from ccl_service.mail.model import (
    MAX_ATTEMPTS,
    SAYS,
    Accepted,
    Answer,
    Hold,
    Letter,
    NoAnswer,
    NotTaken,
    RefusesUs,
    Rejected,
    SendEvent,
    SendState,
    exempt,
    on_allowlist,
    quiet_until,
)
from ccl_service.mail.provider import TIMEOUT
from ccl_service.mail.service import ACTOR, apply_fact
from ccl_service.mail.tokens import Unsubscribe, issue_unsubscribe
from ccl_service.mail.zones import zones_of
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, always
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import TryLater
from ccl_service.platform.telemetry import Count, uncounted
from ccl_service.platform.work import Queue, Work, WorkLoop, backoff

log = structlog.get_logger(__name__)

#: A send is begun only while its lease outlasts the request by this much, for the answer to be recorded.
MARGIN: Final = timedelta(seconds=10)
LEASE: Final = timedelta(seconds=60)
#: Holds that an operator's or provider's change ends are looked at again after this long.
LOOK_AGAIN: Final = timedelta(minutes=1)
FIRST_BACKOFF, MOST_BACKOFF = timedelta(seconds=5), timedelta(hours=1)
#: What was learnt about a send is worth this many tries at writing it down.
RECORD_TRIES: Final = 5


class Provider(Protocol):
    """Takes letters."""

    async def send(self, letter: Letter) -> Answer:
        """Hand one letter over; never raises for what the network does."""


@dataclass(frozen=True)
class Policy:
    """What the settings say about outbound mail. ``allowlist`` None: anybody may be written to (production).

    ``account`` names the provider's account, so that its log is later asked about no other account's sends.
    """

    sender: str | None
    postal_address: str | None
    link_base: str | None
    deployment: str | None
    allowlist: tuple[str, ...] | None
    account: str | None = None


class Sender:
    """Sends what is due."""

    def __init__(
        self,
        db: Db,
        queue: Queue,
        provider: Provider | None,
        *,
        policy: Policy,
        keys: KeyRing,
        jitter: Callable[[], float],
        count: Count = uncounted,
        resting: Callable[[], timedelta | None] = lambda: None,
    ) -> None:
        """``resting`` tells how long to hold sends back for the provider's sake."""
        self._count, self._resting = count, resting
        self._db, self._queue, self._provider = db, queue, provider
        self._policy, self._keys, self._jitter = policy, keys, jitter

    async def handle(self, work: Work) -> None:
        """Bring one claimed send as far as it goes now."""
        if work.state == SendState.SENDING:
            # Whoever began it is gone and took the answer along. Asking again could write twice.
            await self._fact(work.id, SendEvent.NO_ANSWER, reason="interrupted")
            return
        plan = await sql.plan(self._db, work.id, self._policy.deployment)
        lead = await leads.contact(self._db, work.row["lead_id"])
        if plan is None or lead is None or lead["email"] is None:
            return  # erased meanwhile; the row went with the lead
        wait = self._hold(plan, lead)
        if wait:
            await self._wait(work, plan, *wait)
            return
        letter = self._letter(plan, lead)
        if await self._begin(work):
            await self._settle(work, await self._ask(letter))

    def _hold(self, plan: sql.Plan, lead: dict[str, Any]) -> tuple[Hold, timedelta] | None:
        policy = self._policy
        reasons = (
            (Hold.OTHER_DEPLOYMENT, plan.other_deployment),
            (Hold.NO_PROVIDER, self._provider is None),
            (Hold.NO_SENDER, not policy.sender),
            (Hold.NO_POSTAL_ADDRESS, not policy.postal_address),
            (Hold.NO_LINK_BASE, not policy.link_base),
            (
                Hold.NOT_ON_ALLOWLIST,
                policy.allowlist is not None and not on_allowlist(lead["email"], policy.allowlist),
            ),
        )
        for why, holds in reasons:
            if holds:
                return why, LOOK_AGAIN
        if rest := self._resting():
            return Hold.PROVIDER_DOWN, rest
        if exempt(plan.requested_at, plan.now):
            return None
        until = quiet_until(zones_of(lead["zip"], lead["phone"]), plan.now)
        return (Hold.QUIET_HOURS, until - plan.now) if until else None

    async def _wait(self, work: Work, plan: sql.Plan, why: Hold, delay: timedelta) -> None:
        async with self._db.transaction() as tx:
            if await sql.hold(tx, work.id, work.claim, why):
                data = {"send_id": str(work.id)}
                await leads.record_once(tx, plan.lead_id, EventKind.MAIL_HELD, ACTOR, reason=why, data=data)
        await self._queue.park(work, delay)

    def _letter(self, plan: sql.Plan, lead: dict[str, Any]) -> Letter:
        policy = self._policy
        address = identity("email", lead["email"])
        back = issue_return(self._keys, plan.lead_id, plan.id, plan.now)
        out = issue_unsubscribe(self._keys, Unsubscribe(plan.lead_id, address.value_hash))
        facts = Facts(
            first_name=lead["first_name"],
            vehicle_interest=lead["vehicle_interest"],
            return_url=f"{policy.link_base}/api/r/{back}",
            unsubscribe_url=f"{policy.link_base}/api/u/{out}",
            postal_address=policy.postal_address or "",
        )
        parts = render(plan.sequence, facts)
        return Letter(
            send_id=plan.id,
            sender=policy.sender or "",
            to=lead["email"],
            subject=parts.subject,
            text=parts.text,
            html=parts.html,
            unsubscribe=facts.unsubscribe_url,
            tag=plan.sequence,
        )

    async def _begin(self, work: Work) -> bool:
        needs = TIMEOUT + MARGIN
        policy = self._policy
        if await sql.begin(
            self._db, work.id, work.claim, needs=needs, deployment=policy.deployment, via=policy.account
        ):
            return True
        async with self._db.transaction() as tx:
            reason = await sql.suppress_send(tx, work.id, work.claim)
            if reason:
                data = {"send_id": str(work.id)}
                kind = EventKind.MAIL_SUPPRESSED
                await leads.record_once(tx, work.row["lead_id"], kind, ACTOR, reason=reason, data=data)
        if reason:
            self._count("ccl_sends", SendState.SUPPRESSED)
        else:
            await self._queue.release(work)  # cancelled, or the claim is lost or too short: the next claim sees
        return False

    async def _ask(self, letter: Letter) -> Answer:
        assert self._provider is not None  # held otherwise
        answer = await self._provider.send(letter)
        kind = type(answer).__name__
        log.info("provider answered", action="mail.send.answered", send_id=str(letter.send_id), outcome=kind)
        return answer

    async def _settle(self, work: Work, answer: Answer) -> None:
        match answer:
            case Accepted(provider_id):
                await self._fact(work.id, SendEvent.ACK, provider_id=provider_id)
            case Rejected(reason):
                await self._fact(work.id, SendEvent.REFUSE, reason=reason)
            case NoAnswer(reason):
                await self._fact(work.id, SendEvent.NO_ANSWER, reason=reason)
            case NotTaken(reason) if work.attempts + 1 >= MAX_ATTEMPTS:
                await self._fact(work.id, SendEvent.REFUSE, reason=f"gave_up:{reason}")
            case NotTaken(_, delay):
                wait = backoff(work.attempts, first=FIRST_BACKOFF, most=MOST_BACKOFF, jitter=self._jitter())
                wait = max(wait, delay or wait)
                await self._recorded(lambda: sql.again(self._db, work.id, work.claim, delay=wait, attempts=1))
            case RefusesUs(reason):
                log.error("provider refuses our credentials", action="mail.send.refused", reason=reason)
                held = Hold.PROVIDER_REFUSES_US
                await self._recorded(
                    lambda: sql.again(self._db, work.id, work.claim, delay=LOOK_AGAIN, attempts=0, held=held)
                )
            case _:
                assert_never(answer)

    async def _fact(
        self, send_id: UUID, event: SendEvent, *, reason: str | None = None, provider_id: str | None = None
    ) -> None:
        async def write() -> bool:
            async with self._db.transaction() as tx:
                return await apply_fact(tx, send_id, event, actor=ACTOR, reason=reason, provider_id=provider_id)

        await self._recorded(write)
        self._count("ccl_sends", SAYS[event])

    async def _recorded(self, write: Callable[[], Awaitable[object]]) -> None:
        """Write an answer down, also past a short absence of the database."""
        for attempt in range(RECORD_TRIES):
            try:
                await write()
                return
            except TryLater:
                if attempt == RECORD_TRIES - 1:
                    raise
            await asyncio.sleep(0.2 * 2**attempt)


def send_loop(
    db: Db,
    provider: Provider | None,
    *,
    policy: Policy,
    keys: KeyRing,
    jitter: Callable[[], float],
    count: Count = uncounted,
    resting: Callable[[], timedelta | None] = lambda: None,
    fits: Fits = always,
) -> WorkLoop:
    """The loop that works ``sends``; its ``wake`` is told of new ones."""
    queue = Queue(db, sql.SENDS, count)
    sender = Sender(db, queue, provider, policy=policy, keys=keys, jitter=jitter, count=count, resting=resting)

    async def prepare() -> None:
        if policy.deployment:
            await sql.bind_deployment(db, policy.deployment)

    return WorkLoop(queue, sender.handle, lease=LEASE, jitter=jitter, prepare=prepare, fits=fits)
