"""From start to exit: features, background workers, the stop sequence.

On SIGTERM ``/ready`` turns 503 while requests go on being answered for the drain delay, because Kubernetes needs that
long to take a pod out of every proxy (each answer closes its connection meanwhile). Workers stop claiming at once:
their rows belong to nobody in particular. Then the listener closes, streams and sockets are told to come back
elsewhere, and requests and workers get what is left of one deadline; whoever is late is cut off, those workers that
requests depend on are told last, and the process exits 0. A second signal leaves them ``HURRY_SECONDS``.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from aiohttp import web

from ccl_service.platform.phase import Phase, Role
from ccl_service.platform.route import Route
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import WorkTable

__all__ = ["Crew", "Feature", "Phase", "Role", "Worker", "stop", "supervised", "working"]

#: From the signal until whoever is still busy is cut off. Cutting off and closing take up to 6 s more; the whole
#: stays below 30 s, and so below the 35 s after which Kubernetes kills.
STOP_SECONDS: Final = 22.0
#: How long new connections are given to bring their first request once nobody new is accepted.
LINGER_SECONDS: Final = 0.3
#: What a second signal leaves of it.
HURRY_SECONDS: Final = 3.0
#: How long workers may take that nobody stops by deadline.
WORKERS_SECONDS: Final = 20.0
#: What a worker has, once it is cut off, to give back what it holds.
CUT_OFF_SECONDS: Final = 2.0
#: What of that a worker has to end by itself that served requests to the last: one statement or two.
LAST_WORDS_SECONDS: Final = 1.5
RESTART_SECONDS: Final = 1.0

log = structlog.get_logger("ccl.lifecycle")


@dataclass(frozen=True, slots=True)
class Worker:
    """A background loop: runs until the event is set, then gives back what it holds and returns.

    The event is set when the way out begins; for one that ``serves``, because requests depend on what it knows or
    are told of by it, when the last request has been answered.
    """

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    serves: bool = False


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature brings: its rows of the route table, and ``open``.

    ``open(app)`` puts the feature's services into the application under its own ``web.AppKey``s, yields its background
    workers (they run in the roles ``jobs`` and ``all`` only), and closes its resources on exit. ``tables`` are what
    those workers claim from.
    """

    name: str
    routes: tuple[Route, ...]
    open: Callable[[web.Application], contextlib.AbstractAsyncContextManager[Sequence[Worker]]]
    tables: tuple[WorkTable, ...] = ()


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
        metrics.count("ccl_worker_failures", worker.name)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), RESTART_SECONDS)


class Crew:
    """The workers of a process while they run."""

    def __init__(self, workers: Sequence[Worker], stop: asyncio.Event, metrics: Metrics) -> None:
        self._over = asyncio.Event()
        self._claiming = [_started(worker, stop, metrics) for worker in workers if not worker.serves]
        self._serving = [_started(worker, self._over, metrics) for worker in workers if worker.serves]

    async def done(self) -> None:
        """Wait until every worker has ended that does so when the way out begins."""
        if self._claiming:
            await asyncio.wait(self._claiming)

    async def dismiss(self) -> None:
        """Cut off who is still at work, and let those end that serve requests, of which there are none any more.

        Takes ``CUT_OFF_SECONDS`` at most: a worker that does not even heed its cancellation is left behind.
        """
        self._over.set()
        await asyncio.gather(_cut_off(self._claiming, CUT_OFF_SECONDS), self._last_words())

    async def _last_words(self) -> None:
        if self._serving:
            await asyncio.wait(self._serving, timeout=LAST_WORDS_SECONDS)
        await _cut_off(self._serving, CUT_OFF_SECONDS - LAST_WORDS_SECONDS)


def _started(worker: Worker, stop: asyncio.Event, metrics: Metrics) -> "asyncio.Task[None]":
    return asyncio.create_task(supervised(worker, stop, metrics), name=worker.name)


async def _cut_off(tasks: Sequence["asyncio.Task[None]"], seconds: float) -> None:
    late = [task for task in tasks if not task.done()]
    for task in late:
        log.error("worker cut off", action="lifecycle:worker:cut_off", worker=task.get_name())
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=seconds)


@contextlib.asynccontextmanager
async def working(workers: Sequence[Worker], stop: asyncio.Event, metrics: Metrics) -> AsyncIterator[Crew]:
    """Run the workers for the length of the block; on exit they get ``WORKERS_SECONDS`` to end by themselves."""
    crew = Crew(workers, stop, metrics)
    try:
        yield crew
    finally:
        stop.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(crew.done(), WORKERS_SECONDS)
        await crew.dismiss()


class Stoppable(Protocol):
    """What listens."""

    async def stop(self) -> None:
        """Accept nobody new."""


async def stop(listener: Stoppable, phase: Phase, crew: Crew, *, delay: float, hurry: asyncio.Event) -> None:
    """Bring a serving process to where it can close, within ``STOP_SECONDS``.

    It goes on serving for ``delay`` seconds or until ``hurry``. aiohttp's own shutdown may begin only after this: it
    stops reading at once, so that a body still on its way would never arrive.
    """
    deadline = asyncio.get_running_loop().time() + STOP_SECONDS
    await _drain(phase, delay=delay, hurry=hurry)
    await listener.stop()
    phase.leave.set()
    # who was accepted last has yet to send the request; then "nobody is being answered" means what it says
    await asyncio.sleep(LINGER_SECONDS)
    patience = asyncio.create_task(_patience(deadline, hurry))
    finishing = asyncio.create_task(_finished(phase, crew))
    await asyncio.wait({patience, finishing}, return_when=asyncio.FIRST_COMPLETED)
    patience.cancel()
    finishing.cancel()
    await asyncio.gather(patience, finishing, return_exceptions=True)
    if phase.in_flight:
        log.error("requests cut off", action="lifecycle:requests:cut_off", in_flight=phase.in_flight)
    await crew.dismiss()


async def _drain(phase: Phase, *, delay: float, hurry: asyncio.Event) -> None:
    phase.drain()
    log.warning("draining", action="lifecycle:process:draining", delay_s=delay)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hurry.wait(), delay)


async def _finished(phase: Phase, crew: Crew) -> None:
    await phase.idle()
    await crew.done()


async def _patience(deadline: float, hurry: asyncio.Event) -> None:
    """Return when nobody may take longer: at ``deadline``, or soon after ``hurry``."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline - HURRY_SECONDS):
            await hurry.wait()
    await asyncio.sleep(HURRY_SECONDS)
