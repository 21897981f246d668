"""One operator as a whole: starts its parts in order, stops them in order.

Order at start: what ``start`` checks, listings of everything, then kopf and the wait for the Lease; only who holds it
works. A standby's cache is as warm as the leader's. Order at stop: what ``leading`` ends, the Lease last, then the
watches.
"""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog

from ccl_operator.config import Config
from ccl_operator.runtime import start, watchdog
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.health import Health
from ccl_operator.runtime.leading import Leading
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.permit import Permit
from ccl_operator.runtime.place import Place
from ccl_operator.runtime.tasks import Task, cancel, task
from ccl_operator.runtime.watches import Watches

#: What kopf gets to end its watches, in seconds.
KOPF_GRACE: Final = 3.0

log = structlog.get_logger(__name__)


class Operator:
    """``configuration`` is the Kubernetes client's, ``config`` our own."""

    def __init__(
        self, client: Client, permit: Permit, metrics: Metrics, *, configuration: Any, place: Place, config: Config
    ) -> None:
        self._client, self._configuration, self._place = client, configuration, place
        self._watches = Watches(client, place, metrics)
        self._leading = Leading(client, permit, self._watches, metrics, place=place, config=config)
        self._ready = False
        self._health = Health(metrics, self._watches.ears, lambda: self._ready)

    @classmethod
    @asynccontextmanager
    async def connected(cls, configuration: Any, place: Place, config: Config) -> AsyncIterator["Operator"]:
        """An operator with a client of its own, which closes with the block."""
        metrics, permit = Metrics(), Permit(time.monotonic)
        async with Client(
            configuration, metrics, time.monotonic, permit=permit, identity=place.identity, pace=config.pace
        ) as client:
            yield cls(client, permit, metrics, configuration=configuration, place=place, config=config)

    async def run(self, stop: asyncio.Event, health_port: int, on_spawned: Callable[[], None]) -> int:
        """Run until ``stop`` is set (0) or a part fails (1). ``on_spawned``: see ``owners.watch``.

        Raises CannotStart, and TryLater when the API server does not answer for minutes.
        """
        async with self._health.serving(health_port):
            await start.checks(self._client, stop, self._place)
            if stop.is_set():
                return 0
            watches = self._watches.start()
            try:
                await self._watches.fill(stop)
                # What is there now stays. Else each full collection would go through all of it, and everything would
                # stand still for a tenth of a second.
                gc.collect()
                gc.freeze()
                return 0 if stop.is_set() else await self._work(stop, watches, on_spawned)
            finally:
                await cancel(watches)

    async def _work(self, stop: asyncio.Event, watches: Sequence[Task], on_spawned: Callable[[], None]) -> int:
        leading = self._leading.start()
        helpers = [task(self._watches.relist_for_ever(), "re-list"), task(self._health.watch(), "hearing")]
        stopping, stop_kopf = task(stop.wait(), "stop"), asyncio.Event()
        kopf = self._watches.start_own_kind(self._configuration, stop_kopf, on_spawned)
        self._ready = True
        log.info("working", action="start.done", namespaces=self._place.namespaces or "all")
        parts = (*leading.all, *helpers, *watches, *kopf)
        with watchdog.watching(self._leading.is_overdue):
            await asyncio.wait((stopping, *parts), return_when=asyncio.FIRST_COMPLETED)
            code = _report_ended(parts)
            self._ready = False
            await self._leading.let_go(leading)
            stop_kopf.set()
            await cancel([*helpers, stopping])
            await asyncio.wait(kopf, timeout=KOPF_GRACE)
            await cancel(kopf)
        return code


def _report_ended(parts: Sequence[Task]) -> int:
    """None of the parts ends by itself: one that did is a reason to start the process anew."""
    code = 0
    for part in parts:
        if part.done():
            error = None if part.cancelled() else part.exception()
            log.error("a part ended", action="run.failed", part=part.get_name(), error=repr(error))
            code = 1
    return code
