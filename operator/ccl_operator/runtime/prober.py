"""Asks service pods for their production readiness, every five seconds, and puts the answers into the cache.

Which pods is said by the last plan (``Plan.probes``); what an answer means is ``rollout``'s business. Only a whole,
well-formed answer is a report; anything else is inconclusive, with the reason.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import aiohttp
from pydantic import ValidationError

from ccl_contract.readiness import ReadinessReport
from ccl_operator import names
from ccl_operator.actions import Key, ProbeTarget
from ccl_operator.observe import Probe
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.metrics import Metrics

PATH: Final = "/api/monitoring/production-readiness"
EVERY: Final = 5.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=5.0)
AT_ONCE: Final = 20
BODY_MAX: Final = 256 * 1024


class Prober:
    """``clock`` is monotonic, in seconds; ``now`` is UTC; ``enqueue`` is called when an answer is news."""

    def __init__(
        self,
        cache: Cache,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        enqueue: Callable[[Key], None],
    ) -> None:
        self._cache, self._metrics = cache, metrics
        self._clock, self._now, self._enqueue = clock, now, enqueue
        self._targets: dict[Key, frozenset[ProbeTarget]] = {}
        self._due: dict[tuple[Key, ProbeTarget], float] = {}
        self._changed = asyncio.Event()

    def set_targets(self, key: Key, targets: Iterable[ProbeTarget]) -> None:
        """Replace the pods to ask of one CclDeployment; new ones are asked at once."""
        known, wanted = self._targets.pop(key, frozenset()), frozenset(targets)
        for gone in known - wanted:
            del self._due[key, gone]
        for target in wanted - known:
            self._due[key, target] = self._clock()
            self._changed.set()
        if wanted:
            self._targets[key] = wanted
        self._cache.retain_probes(key, frozenset(target.pod_uid for target in wanted))

    async def run(self) -> None:
        """Ask until cancelled."""
        async with aiohttp.ClientSession(timeout=TIMEOUT, trust_env=False) as session:
            while True:
                self._changed.clear()
                now = self._clock()
                due = [target for target, at in self._due.items() if at <= now][:AT_ONCE]
                self._due.update(dict.fromkeys(due, now + EVERY))
                await asyncio.gather(*(self._ask(session, *target) for target in due))
                await self._wait()

    async def _wait(self) -> None:
        timeout = min(self._due.values()) - self._clock() if self._due else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    async def _ask(self, session: aiohttp.ClientSession, key: Key, target: ProbeTarget) -> None:
        report, error = await self._answer(session, key, target)
        if (key, target) not in self._due:
            return
        self._metrics.probes.labels("report" if report else "inconclusive").inc()
        if self._cache.put_probe(key, target.pod_uid, Probe(self._now(), report, error)):
            self._enqueue(key)

    async def _answer(
        self, session: aiohttp.ClientSession, key: Key, target: ProbeTarget
    ) -> tuple[ReadinessReport | None, str]:
        """The report, or None and why there is none."""
        try:
            return await _report(session, target, self._token(key)), ""
        except _Inconclusive as error:
            return None, str(error)
        except ValidationError as error:
            return None, f"not a readiness report: {error.error_count()} errors"
        except TimeoutError:
            return None, f"no answer within {TIMEOUT.total:.0f} s"
        except (aiohttp.ClientError, OSError) as error:
            return None, f"no answer: {type(error).__name__}"

    def _token(self, key: Key) -> str:
        secret = self._cache.child(names.SECRET, key.namespace, names.monitor(key.name)) or {}
        try:
            return base64.b64decode((secret.get("data") or {})["token"]).decode()
        except (KeyError, binascii.Error, UnicodeDecodeError) as error:
            raise _Inconclusive(f"Secret {names.monitor(key.name)} has no token yet") from error


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
