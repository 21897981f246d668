"""Takes keys from the queue, has them reconciled, and decides when to look again. The outermost frame of every pass."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from ccl_operator.actions import Key
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.errors import TryLater
from ccl_operator.runtime.interruptions import Interruptions
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.queue import WorkQueue
from ccl_operator.runtime.reconcile import Outcome, Reconciler
from ccl_operator.runtime.references import References

#: So many passes in a row may write without a pause; a plan that never comes to rest is slowed down then.
WRITES_IN_A_ROW: Final = 20
#: Seconds; a wished time that has passed already must not make a tight loop.
SOONEST: Final = 0.25

log = structlog.get_logger(__name__)


class Workers:
    """``clock`` is monotonic, in seconds; ``now`` is UTC."""

    def __init__(
        self,
        *,
        queue: WorkQueue,
        reconciler: Reconciler,
        references: References,
        cache: Cache,
        metrics: Metrics,
        backoff: Backoff,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._queue, self._reconciler, self._references, self._cache = queue, reconciler, references, cache
        self._metrics, self._backoff, self._clock, self._now = metrics, backoff, clock, now
        self._failures: dict[Key, int] = {}
        self._writes: dict[Key, int] = {}
        self._interruptions = Interruptions(clock)
        metrics.interrupted.set_function(lambda: float(self._interruptions.lasting()))

    async def run(self) -> None:
        """Work until the queue is closed; a pass that is under way then is finished."""
        while (key := await self._queue.get()) is not None:
            try:
                await self._pass(key)
            finally:
                self._queue.done(key)
            # A pass that found nothing to do never waited for anything: the Lease must be renewed all the same.
            await asyncio.sleep(0)

    async def _pass(self, key: Key) -> None:
        started = self._clock()
        word = "bug"
        try:
            outcome = await self._reconciler.reconcile(key)
            word = outcome.word
            self._after(key, outcome)
        except TryLater as error:
            word = "later"
            delay = self._fail(key, error.after)
            log.warning(
                "reconcile interrupted",
                action="reconcile.later",
                namespace=key.namespace,
                name=key.name,
                error=str(error),
                retry_s=round(delay, 1),
            )
            if self._interruptions.note(key):
                await self._reconciler.interrupted(key, str(error))
        except Exception:
            # One object that trips over a bug must not stop the others; it is said loudly and tried again.
            delay = self._fail(key, None)
            log.exception(
                "reconcile failed",
                action="reconcile.bug",
                namespace=key.namespace,
                name=key.name,
                retry_s=round(delay, 1),
            )
            await self._tell_failure(key)
        finally:
            self._metrics.reconcile_seconds.labels(word).observe(self._clock() - started)

    async def _tell_failure(self, key: Key) -> None:
        try:
            await self._reconciler.failed(key)
        except Exception:
            # What broke the pass may break this too; the next failure tries again.
            log.exception("failure not told", action="reconcile.untold", namespace=key.namespace, name=key.name)

    def _after(self, key: Key, outcome: Outcome) -> None:
        self._interruptions.over(key)
        self._writes[key] = self._writes.get(key, 0) + 1 if outcome.wrote else 0
        if outcome.word == "gone":
            self._failures.pop(key, None)
            self._writes.pop(key, None)
            self._queue.schedule(key, None)
        elif outcome.wrote and self._writes[key] <= WRITES_IN_A_ROW:
            self._queue.schedule(key, self._due_at(key, outcome.requeue_at))
            self._queue.add(key)
        elif outcome.wrote or outcome.blocked:
            self._fail(key, None, self._due_at(key, outcome.requeue_at))
        else:
            self._failures.pop(key, None)
            self._queue.schedule(key, self._due_at(key, outcome.requeue_at))

    def _fail(self, key: Key, after: float | None, due_at: float | None = None) -> float:
        self._failures[key] = self._failures.get(key, 0) + 1
        delay = after if after is not None else self._backoff.delay(self._failures[key])
        at = self._clock() + delay
        self._queue.schedule(key, at if due_at is None else min(at, due_at))
        return delay

    def _due_at(self, key: Key, requeue_at: datetime | None) -> float | None:
        """The earlier of what the plan asked for and the next look at referenced Secrets; None without either."""
        owner = self._cache.owner(key)
        wishes = [self._references.due_at(key, owner)] if owner is not None else []
        if requeue_at is not None:
            wishes.append(self._clock() + max(SOONEST, (requeue_at - self._now()).total_seconds()))
        return min((wish for wish in wishes if wish is not None), default=None)
