"""Asks service pods for their production readiness, every five seconds, and puts the answers into the cache.

Which pods is said by the last plan (``Plan.probes``); what an answer means is ``rollout``'s business. Only a whole,
well-formed answer is a report; anything else is inconclusive, with the reason.
"""

import asyncio
import heapq
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import aiohttp
from pydantic import ValidationError

from ccl_contract.keys import token_key
from ccl_contract.readiness import ReadinessReport
from ccl_contract.strength import NO_TOKEN
from ccl_operator import names, secrets
from ccl_operator.actions import Key, ProbeTarget
from ccl_operator.environment import MONITOR_TOKEN
from ccl_operator.observe import Probe
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.metrics import Metrics

PATH: Final = "/api/monitoring/production-readiness"
EVERY: Final = 5.0
TIMEOUT: Final = 5.0
#: Pods that do not answer hold others up only when there are more of them than this, and then for a TIMEOUT each time.
AT_ONCE: Final = 20
BODY_MAX: Final = 256 * 1024


@dataclass(order=True)
class _Question:
    """What one pod is asked again and again, ordered by when it is due."""

    due: float
    key: Key = field(compare=False)
    target: ProbeTarget = field(compare=False)
    withdrawn: bool = field(default=False, compare=False)


class Prober:
    """``clock`` is monotonic, in seconds; ``now`` is UTC; ``enqueue`` is called when an answer is news.

    ``every`` is the time from one question to the next, ``timeout`` what a pod has for its answer, both in seconds.
    """

    def __init__(
        self,
        cache: Cache,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        enqueue: Callable[[Key], None],
        every: float = EVERY,
        timeout: float = TIMEOUT,
    ) -> None:
        self._cache, self._metrics = cache, metrics
        self._clock, self._now, self._enqueue = clock, now, enqueue
        self._every, self._timeout = every, timeout
        self._questions: dict[Key, dict[ProbeTarget, _Question]] = {}
        #: A heap of those that are not being asked; withdrawn ones go when they come to the top.
        self._waiting: list[_Question] = []
        self._changed = asyncio.Event()

    def set_targets(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        """Replace the pods to ask of one CclDeployment; new ones are asked at once."""
        known, wanted = self._questions.pop(key, {}), frozenset(targets)
        for target in known.keys() - wanted:
            known.pop(target).withdrawn = True
        for target in wanted - known.keys():
            known[target] = _Question(self._clock(), key, target)
            self._wait_with(known[target])
        if known:
            self._questions[key] = known
        self._cache.retain_probes(key, frozenset(target.pod_uid for target in wanted))

    async def run(self) -> None:
        """Ask until cancelled: who has been due for longest first, ``AT_ONCE`` at a time, each on its own."""
        free = asyncio.Semaphore(AT_ONCE)
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        async with (
            aiohttp.ClientSession(timeout=timeout, trust_env=False) as session,
            asyncio.TaskGroup() as asking,
        ):
            while True:
                await free.acquire()
                task = asking.create_task(self._ask(session, await self._next()))
                task.add_done_callback(lambda _: free.release())

    def _wait_with(self, question: _Question) -> None:
        heapq.heappush(self._waiting, question)
        self._changed.set()

    async def _next(self) -> _Question:
        """Wait for a question that is due, and take it out."""
        while True:
            self._changed.clear()
            while self._waiting and self._waiting[0].withdrawn:
                heapq.heappop(self._waiting)
            until_due = self._waiting[0].due - self._clock() if self._waiting else None
            if until_due is not None and until_due <= 0:
                return heapq.heappop(self._waiting)
            with suppress(TimeoutError):
                async with asyncio.timeout(until_due):
                    await self._changed.wait()

    async def _ask(self, session: aiohttp.ClientSession, question: _Question) -> None:
        asked_at = self._clock()
        report, error = await self._answer(session, question)
        if question.withdrawn:
            return
        question.due = asked_at + self._every
        self._wait_with(question)
        self._metrics.probes.labels("report" if report else "inconclusive").inc()
        if self._cache.put_probe(question.key, question.target.pod_uid, Probe(self._now(), report, error)):
            self._enqueue(question.key)

    async def _answer(self, session: aiohttp.ClientSession, question: _Question) -> tuple[ReadinessReport | None, str]:
        """The report, or None and why there is none."""
        try:
            return await _report(session, question.target, self._token(question.key)), ""
        except _Inconclusive as error:
            return None, str(error)
        except ValidationError as error:
            return None, f"not a readiness report: {error.error_count()} errors"
        except TimeoutError:
            return None, f"no answer within {self._timeout:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return None, f"no answer: {type(error).__name__}"

    def _token(self, key: Key) -> str:
        name = names.monitor(key.name)
        token = secrets.decoded(self._cache.child(names.SECRET, key.namespace, name)).get(MONITOR_TOKEN)
        if not token:
            raise _Inconclusive(f"Secret {name} has no token yet")
        try:
            return token_key(token).current.secret.get_secret_value()
        except ValueError as error:
            raise _Inconclusive(f"the token of Secret {name} {NO_TOKEN}") from error


class _Inconclusive(Exception):
    """The message says why there is no report."""


async def _report(session: aiohttp.ClientSession, target: ProbeTarget, token: str) -> ReadinessReport:
    host = f"[{target.pod_ip}]" if ":" in target.pod_ip else target.pod_ip
    url = f"http://{host}:{target.port}{PATH}"
    async with session.get(url, headers={"Authorization": f"Bearer {token}"}, allow_redirects=False) as answer:
        if answer.status != 200:
            raise _Inconclusive(f"HTTP {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_chunked(64 * 1024):
            body += chunk
            if len(body) > BODY_MAX:
                raise _Inconclusive("the answer is too long")
        return ReadinessReport.model_validate_json(bytes(body))
