"""The row is the job: claim, lease, renew, park, retry, quarantine; and the loop that works the claimed rows.

A table takes part by having the columns of ``WORK_COLUMNS`` and an index ``(lane, due_at)`` over its claimable states.
This module owns those columns and nothing else: what a row means, and the statement that records its result (guarded
by ``claim_id``), belong to the feature. Times come from the database clock, so that worker clocks may differ.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

import structlog

from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.problems import CclError, TryLater
from ccl_service.platform.telemetry import Count, uncounted

log = structlog.get_logger(__name__)

#: Claims without a result after which a row waits for a human.
MAX_CLAIMS: Final = 5
QUARANTINED: Final = "quarantined"
#: How long a cancelled handler may take to end before its row is given back all the same.
CANCEL_SECONDS: Final = 1.0

#: For CREATE TABLE statements; ``id uuid PRIMARY KEY`` and the meaning of ``state`` are the table's own.
WORK_COLUMNS: Final = """
    state text NOT NULL,
    lane smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    claims smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    lease_until timestamptz"""


@dataclass(frozen=True)
class WorkTable:
    """A table of work. ``claimable`` states are claimed when due; ``columns`` come along with each claim.

    ``waiting`` holds for rows that wait for a human, ``reason`` says why they do, and ``resume`` is the state in which
    they are worked again (by default the first claimable one). All are constants of the program (they become SQL
    text), never input.
    """

    name: str
    claimable: tuple[str, ...]
    columns: tuple[str, ...] = ()
    waiting: str = f"state = '{QUARANTINED}'"
    reason: str = "NULL::text"
    resume: str = ""

    def __post_init__(self) -> None:
        """Fill in the default of ``resume``."""
        object.__setattr__(self, "resume", self.resume or f"'{self.claimable[0]}'")

    @property
    def states(self) -> str:
        """The claimable states as an SQL list; equal, word for word, to the predicate of the due index."""
        return ", ".join(f"'{state}'" for state in self.claimable)


@dataclass(frozen=True)
class Work:
    """One claimed row. ``claims`` counts this claim too; ``attempts`` counts only those before it."""

    id: UUID
    claim: UUID
    state: str
    lane: int
    attempts: int
    claims: int
    row: Mapping[str, Any]


class Outcome(StrEnum):
    """What became of a claim, for the metric ``ccl_work_outcomes``."""

    #: The handler has ended, whatever it decided about the row.
    HANDLED = "handled"
    #: The handler said later; no attempt is burnt.
    PARKED = "parked"
    #: The handler died.
    CRASHED = "crashed"
    #: Claimed too often without a result: it waits for a human now.
    QUARANTINED = "quarantined"
    #: Given back unworked on the way out.
    RELEASED = "released"
    #: Nothing could be written down: the lease runs out and somebody claims the row again.
    LEFT = "left"


class Queue:
    """The statements over one table. Every write names the claim, so that a late worker writes nothing."""

    def __init__(self, db: Db, table: WorkTable, count: Count = uncounted) -> None:
        self._db = db
        self.table = table
        self._count = count
        name = table.name
        self.claim_statement = _claim_statement(table)
        self._renew = f"""
-- {name}: keep the rows that still belong to claim $1 for another $2
UPDATE {name} SET lease_until = clock_timestamp() + $2::interval WHERE claim_id = $1"""  # noqa: S608
        self._release = f"""
-- {name}: give back a row unworked; the claim is not counted
UPDATE {name} SET claim_id = NULL, lease_until = NULL, claims = GREATEST(claims - 1, 0)
 WHERE id = $1 AND claim_id = $2 RETURNING id"""  # noqa: S608
        self._park = f"""
-- {name}: look again after $3; burns no attempt
UPDATE {name} SET due_at = now() + $3::interval, claim_id = NULL, lease_until = NULL, claims = 0
 WHERE id = $1 AND claim_id = $2 RETURNING id"""  # noqa: S608
        self._retry = f"""
-- {name}: a counted attempt failed for now; try again after $3
UPDATE {name} SET due_at = now() + $3::interval, claim_id = NULL, lease_until = NULL, claims = 0,
    attempts = attempts + 1
 WHERE id = $1 AND claim_id = $2 RETURNING id"""  # noqa: S608
        self._crash = f"""
-- {name}: the handler died; the claim stays counted, so that the fifth leads to quarantine
UPDATE {name} SET due_at = now() + $3::interval, claim_id = NULL, lease_until = NULL
 WHERE id = $1 AND claim_id = $2 RETURNING id"""  # noqa: S608

    def count(self, outcome: Outcome) -> None:
        """Count what became of a claim."""
        self._count("ccl_work_outcomes", self.table.name, outcome)

    async def claim(
        self, claim: UUID, lease: timedelta, limit: int, *, beyond_lane_0: int | None = None
    ) -> Sequence[Work]:
        """Claim at most ``limit`` due rows, lowest lane first; empty when none is due.

        At most ``beyond_lane_0`` of them come from lanes above 0; None means as many as fit.
        """
        others = limit if beyond_lane_0 is None else beyond_lane_0
        rows = await self._db.fetch(self.claim_statement, claim, lease, limit, others)
        claimed = []
        for row in rows:
            if row["state"] == QUARANTINED:
                log.error("work quarantined", action="work.quarantined", table=self.table.name, id=str(row["id"]))
                self.count(Outcome.QUARANTINED)
                continue
            extra = {column: row[column] for column in self.table.columns}
            claimed.append(Work(row["id"], claim, row["state"], row["lane"], row["attempts"], row["claims"], extra))
        return claimed

    async def renew(self, claim: UUID, lease: timedelta) -> None:
        """Extend the lease of every row that the claim still holds."""
        await self._db.execute(self._renew, claim, lease)

    async def release(self, work: Work) -> bool:
        """Give the row back unworked (a stop). False when the claim was lost."""
        return await self._db.fetchval(self._release, work.id, work.claim) is not None

    async def park(self, work: Work, delay: timedelta) -> bool:
        """Look at the row again after ``delay`` without burning an attempt. False when the claim was lost."""
        return await self._db.fetchval(self._park, work.id, work.claim, delay) is not None

    async def retry(self, work: Work, delay: timedelta) -> bool:
        """Record a failed attempt, due again after ``delay``. False when the claim was lost."""
        return await self._db.fetchval(self._retry, work.id, work.claim, delay) is not None

    async def crashed(self, work: Work, delay: timedelta) -> bool:
        """Record a claim without a result. False when the claim was lost."""
        return await self._db.fetchval(self._crash, work.id, work.claim, delay) is not None


def _claim_statement(table: WorkTable) -> str:
    name, extra = table.name, "".join(f", {column}" for column in table.columns)
    return f"""
-- {name}: lease up to $3 due rows, $4 of them beyond lane 0, under claim $1 for $2; the sixth claim quarantines instead
WITH urgent AS MATERIALIZED (
    SELECT id FROM {name}
     WHERE state IN ({table.states}) AND lane = 0 AND due_at <= now()
       -- an expired lease is claimed like any other row: there is no separate recovery
       AND (lease_until IS NULL OR lease_until < now())
     ORDER BY lane, due_at LIMIT $3 FOR UPDATE SKIP LOCKED),
other AS MATERIALIZED (
    SELECT id FROM {name}
     WHERE state IN ({table.states}) AND lane > 0 AND due_at <= now()
       AND (lease_until IS NULL OR lease_until < now())
     ORDER BY lane, due_at LIMIT LEAST($4, $3 - (SELECT count(*) FROM urgent)) FOR UPDATE SKIP LOCKED)
UPDATE {name} SET
    state = CASE WHEN claims >= {MAX_CLAIMS} THEN '{QUARANTINED}' ELSE state END,
    claim_id = CASE WHEN claims >= {MAX_CLAIMS} THEN NULL ELSE $1::uuid END,
    lease_until = CASE WHEN claims >= {MAX_CLAIMS} THEN NULL ELSE clock_timestamp() + $2::interval END,
    claims = LEAST(claims + 1, {MAX_CLAIMS})
 WHERE id IN (SELECT id FROM urgent UNION ALL SELECT id FROM other)
RETURNING id, state, lane, attempts, claims{extra}"""  # noqa: S608 - constants of the program


def backoff(attempts: int, *, first: timedelta, most: timedelta, jitter: float) -> timedelta:
    """Delay before the next attempt: ``first``·2^attempts, at most ``most``; half to all of it, by ``jitter`` (0–1)."""
    whole: timedelta = min(first * (1 << min(attempts, 20)), most)
    return whole * (0.5 + jitter / 2)


class _Again(Enum):
    """When a loop looks for work again."""

    AT_ONCE = "at once"
    WHEN_FREE = "when a slot is free"
    AT_POLL = "at the next poll"


class WorkLoop:
    """Claims due rows of one table and works up to ``slots`` of them at a time.

    Polling is the truth; ``wake`` only shortens the wait after work was enqueued in this process. The lease is renewed
    at a third. On stop nothing more is claimed, running handlers get ``grace`` to finish, the rest are cancelled and
    their leases released.
    """

    def __init__(
        self,
        queue: Queue,
        handle: Callable[[Work], Awaitable[None]],
        *,
        lease: timedelta = timedelta(seconds=60),
        slots: int = 8,
        poll: timedelta = timedelta(milliseconds=250),
        grace: timedelta = timedelta(seconds=15),
        new_id: Callable[[], UUID] = uuid4,
        jitter: Callable[[], float] = random.random,
        prepare: Callable[[], Awaitable[None]] | None = None,
        fits: Fits = always,
    ) -> None:
        """``prepare`` runs before the first claim, again after every failure, until it succeeds once.

        ``fits`` is asked before each claim (``platform.gate``).
        """
        self._queue = queue
        self._handle = handle
        self._lease, self._poll, self._grace = lease, poll, grace
        self._slots = slots
        #: Slots that only lane 0 may fill: a fifth, so that a long campaign never keeps a person waiting.
        self._reserved = -(-slots // 5) if slots > 1 else 0
        self._away = False
        self._gate = Gate(self.name, fits)
        self._new_id, self._jitter = new_id, jitter
        self._prepare = prepare
        self._woken = asyncio.Event()
        self._running: dict[asyncio.Task[None], Work] = {}

    @property
    def name(self) -> str:
        """The table's name; for logs and task names."""
        return self._queue.table.name

    def wake(self) -> None:
        """Look for work now. Safe to call from anywhere in the event loop's thread."""
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish or give back what is running."""
        stopped = asyncio.create_task(stop.wait())
        renewing = asyncio.create_task(self._renew())
        try:
            while not stop.is_set():
                self._woken.clear()
                again = await self._claim()
                if again is not _Again.AT_ONCE:
                    await self._pause(stopped, again)
        finally:
            stopped.cancel()
            try:
                await self._finish()
            finally:
                renewing.cancel()

    async def _claim(self) -> _Again:
        """Start what is due on the free slots. When to look again."""
        before = len(self._running)
        free = self._slots - before
        if free <= 0:
            return _Again.WHEN_FREE
        if not await self._gate.open():
            return _Again.AT_POLL
        try:
            if self._prepare:
                await self._prepare()
                self._prepare = None
            beyond = sum(work.lane > 0 for work in self._running.values())
            room = max(self._slots - self._reserved - beyond, 0)
            works = await self._queue.claim(self._new_id(), self._lease, free, beyond_lane_0=room)
        except CclError as error:
            if not self._away:  # once, not at every poll
                log.warning("no work claimed", action="work.claim_failed", table=self.name, code=error.code)
            self._away = True
            return _Again.AT_POLL
        self._away = False
        for work in works:
            task = asyncio.create_task(self._work(work))
            self._running[task] = work
            task.add_done_callback(lambda done: self._running.pop(done, None))
        more = len(works) == free or sum(work.lane > 0 for work in works) >= room
        if more and len(self._running) < before + len(works):
            return _Again.AT_ONCE  # a slot became free while the database was asked
        return _Again.WHEN_FREE if more else _Again.AT_POLL

    async def _pause(self, stopped: asyncio.Task[Any], again: _Again) -> None:
        """Until woken or stopped, or until a slot is free when more may be due; for one poll at most."""
        woken = asyncio.create_task(self._woken.wait())
        waits: set[asyncio.Task[Any]] = {stopped, woken}
        if again is _Again.WHEN_FREE:
            waits |= set(self._running)
        await asyncio.wait(waits, timeout=self._poll.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    async def _work(self, work: Work) -> None:
        try:
            await self._handle(work)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            # The outermost frame of a handler: one broken row must not stop the loop.
            expected = isinstance(error, TryLater)
            report = log.warning if expected else log.exception
            report("work failed", action="work.failed", table=self.name, id=str(work.id), error=type(error).__name__)
            self._queue.count(await self._settle(work, error))
        else:
            self._queue.count(Outcome.HANDLED)

    async def _settle(self, work: Work, error: Exception) -> Outcome:
        delay = backoff(work.claims, first=timedelta(seconds=1), most=timedelta(minutes=5), jitter=self._jitter())
        try:
            if isinstance(error, TryLater):
                await self._queue.park(work, max(delay, error.delay))
                return Outcome.PARKED
            await self._queue.crashed(work, delay)
        except CclError:
            # The database is away: the lease runs out and the row is claimed again.
            return self._left(work)
        return Outcome.CRASHED

    def _left(self, work: Work) -> Outcome:
        log.warning("claim left to expire", action="work.lease_left", table=self.name, id=str(work.id))
        return Outcome.LEFT

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            for claim in {work.claim for work in self._running.values()}:
                try:
                    await self._queue.renew(claim, self._lease)
                except CclError as error:
                    log.warning("lease not renewed", action="work.renew_failed", table=self.name, code=error.code)

    async def _finish(self) -> None:
        running = dict(self._running)
        try:
            if running:
                await asyncio.wait(running, timeout=self._grace.total_seconds())
        finally:  # also when this loop itself is cut off
            await self._give_back({task: work for task, work in running.items() if not task.done()})

    async def _give_back(self, running: Mapping["asyncio.Task[None]", Work]) -> None:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=CANCEL_SECONDS)
        for task in running:
            try:
                await self._queue.release(running[task])
            except CclError:
                self._queue.count(self._left(running[task]))
            else:
                self._queue.count(Outcome.RELEASED)
