"""From start to exit: features, background workers, the stop sequence.

On SIGTERM ``/ready`` turns 503 while requests go on being answered for the drain delay, because Kubernetes needs that
long to take a pod out of every proxy (each answer closes its connection meanwhile); then the listener closes,
requests in flight finish, and the process exits 0.
Workers stop claiming at once: their rows belong to nobody in particular.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from aiohttp import web

from ccl_service.platform.http import Route
from ccl_service.platform.phase import Phase, Role
from ccl_service.platform.telemetry import Metrics

__all__ = ["Feature", "Phase", "Role", "Worker", "close_listener", "drain", "supervised", "working"]

#: After the drain delay: how long requests in flight, and workers, may take. 5 + 15 + 2 stays below 30 s.
IN_FLIGHT_SECONDS: Final = 15.0
WORKERS_SECONDS: Final = 20.0
RESTART_SECONDS: Final = 1.0

log = structlog.get_logger("ccl.lifecycle")


@dataclass(frozen=True, slots=True)
class Worker:
    """A background loop: runs until the event is set, then gives back what it holds and returns."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature brings: its rows of the route table, and ``open``.

    ``open(app)`` puts the feature's services into the application under its own ``web.AppKey``s, yields its background
    workers (they run in the roles ``jobs`` and ``all`` only), and closes its resources on exit.
    """

    name: str
    routes: tuple[Route, ...]
    open: Callable[[web.Application], contextlib.AbstractAsyncContextManager[Sequence[Worker]]]


async def supervised(worker: Worker, stop: asyncio.Event, metrics: Metrics) -> None:
    """Run a worker until ``stop``; one that fails is started again after a second."""
    while not stop.is_set():
        try:
            await worker.run(stop)
            if stop.is_set():
                return
            log.error("worker returned early", action="lifecycle:worker:returned", worker=worker.name)
        except Exception as exc:
            log.error("worker failed", action="lifecycle:worker:failed", worker=worker.name, exc_info=exc)
        metrics.worker_failures.labels(worker.name).inc()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_SECONDS)


@contextlib.asynccontextmanager
async def working(workers: Sequence[Worker], stop: asyncio.Event, metrics: Metrics) -> AsyncIterator[None]:
    """Run the workers for the length of the block; on exit they get ``WORKERS_SECONDS`` to end by themselves."""
    tasks = [asyncio.create_task(supervised(w, stop, metrics), name=w.name) for w in workers]
    try:
        yield
    finally:
        stop.set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=WORKERS_SECONDS)
            for task in late:
                log.error("worker cut off", action="lifecycle:worker:cut_off", worker=task.get_name())
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def drain(phase: Phase, *, delay: float, hurry: asyncio.Event) -> None:
    """Turn ``/ready`` red, stop the workers, and keep serving for ``delay`` seconds or until ``hurry``."""
    phase.draining = True
    phase.stop.set()
    log.warning("draining", action="lifecycle:process:draining", delay_s=delay)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), delay)


async def close_listener(site: web.BaseSite, phase: Phase) -> None:
    """Accept nobody new and let the requests in flight finish.

    Only then may aiohttp's own shutdown begin: it stops reading at once, so that a body still on its way would never
    arrive.
    """
    await site.stop()
    if not await phase.idle(IN_FLIGHT_SECONDS):
        log.error("requests cut off", action="lifecycle:requests:cut_off", in_flight=phase.in_flight)
