"""What the replica does that holds the Lease: passes over objects, events about them, questions to their pods.

Order at stop: passes that are under way come to their end, their events are sent, then the Lease is let go.
"""

import asyncio
import secrets
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import SystemRandom
from typing import Final

from ccl_operator.config import Config
from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.events import Events
from ccl_operator.runtime.lease import Elector
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.permit import Permit
from ccl_operator.runtime.place import Place
from ccl_operator.runtime.prober import Prober
from ccl_operator.runtime.reconcile import Reconciler
from ccl_operator.runtime.tasks import Task, cancel, task
from ccl_operator.runtime.watches import Watches
from ccl_operator.runtime.workers import Workers
from ccl_operator.runtime.writer import Writer

WORKERS: Final = 4
#: Passes in flight at SIGTERM, and events not sent yet, get this long, in seconds: others wait for the Lease meanwhile.
PASS_GRACE: Final = 1.5


@dataclass(frozen=True)
class Parts:
    """What runs, none of which ends by itself."""

    lease: Task
    workers: tuple[Task, ...]
    poster: Task
    prober: Task

    @property
    def all(self) -> tuple[Task, ...]:
        """Every one."""
        return (self.lease, *self.workers, self.poster, self.prober)


class Leading:
    """One per process; the standby's waits for the Lease."""

    def __init__(
        self, client: Client, permit: Permit, watches: Watches, metrics: Metrics, *, place: Place, config: Config
    ) -> None:
        clock = time.monotonic
        self._permit, self._queue = permit, watches.queue
        self._elector = Elector(client, permit, place, clock=clock, now=_now)
        self._events = Events(
            client, metrics, place.identity, clock=clock, now=_now, unique=partial(secrets.token_hex, 8)
        )
        self._prober = Prober(watches.cache, metrics, clock=clock, now=_now, enqueue=watches.queue.add)
        reconciler = Reconciler(
            cache=watches.cache,
            writer=Writer(client, watches.cache),
            references=watches.references,
            prober=self._prober,
            events=self._events,
            config=config,
            now=_now,
            entropy=secrets.token_bytes,
        )
        self._workers = Workers(
            queue=watches.queue,
            reconciler=reconciler,
            references=watches.references,
            cache=watches.cache,
            metrics=metrics,
            backoff=Backoff(first=1.0, longest=120.0, random=SystemRandom().random),
            clock=clock,
            now=_now,
        )
        metrics.leader.set_function(lambda: float(permit.remaining() > 0))
        # A standby's queue only grows: it starts with everything the day it leads.
        metrics.queue_depth.set_function(lambda: float(len(watches.queue) if permit.remaining() > 0 else 0))

    def start(self) -> Parts:
        """Wait for the Lease, then work."""
        return Parts(
            lease=task(self._elector.run(), "lease"),
            workers=tuple(task(self._work(), f"worker {number}") for number in range(WORKERS)),
            poster=task(self._events.run(), "events"),
            prober=task(self._prober.run(), "prober"),
        )

    def is_overdue(self) -> bool:
        """See ``Elector``."""
        return self._elector.is_overdue()

    async def let_go(self, parts: Parts) -> None:
        """Finish what was begun, as far as it may be, and let others lead."""
        self._queue.close()
        if self._permit.remaining() > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(PASS_GRACE):
                    await asyncio.wait(parts.workers)
                    self._events.close()
                    await asyncio.wait([parts.poster])
        await cancel([*parts.workers, parts.poster, parts.lease])
        await self._elector.release()
        await cancel([parts.prober])

    async def _work(self) -> None:
        await self._elector.held.wait()
        await self._workers.run()


def _now() -> datetime:
    return datetime.now(UTC)
