"""How often one client may call. Counted in this process, reconciled with the others behind the requests' back.

A request never waits for them: it is judged by what was counted here plus what the other processes had counted at
the last reconciliation (every 200 ms). Where nothing is shared, or Redis is away, each process counts for itself.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol

from ccl_service.platform.problems import RateLimited

RECONCILE_SECONDS: Final = 0.2
#: Windows kept in memory; beyond it the oldest go, which errs in the caller's favour.
MOST_COUNTERS: Final = 100_000
#: Counters in one round trip.
MOST_AT_ONCE: Final = 1000


class LimitClass(StrEnum):
    """Which limit a route falls under."""

    NONE = "none"
    DEFAULT = "default"
    MONITORING = "monitoring"
    #: What one conversation says and reads.
    CHAT = "chat"
    #: The same of all conversations of one address: a new one costs a stranger nothing. No route names it.
    CHAT_ADDRESS = "chat-address"
    #: New conversations of one address.
    CHAT_OPENING = "chat-opening"
    #: A scoped key's own limit; no route names it, the key brings it along.
    KEY = "key"
    #: Only refusals count: bad signatures, bad tokens, what is neither.
    FAILURES = "failures"


@dataclass(frozen=True, slots=True)
class Limit:
    """``most`` requests in each ``window``."""

    most: int
    window: timedelta


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a client stands after a request: ``reset`` is the rest of the window in seconds."""

    limit_class: LimitClass
    limit: Limit
    remaining: int
    reset: float

    def headers(self) -> Mapping[str, str]:
        """RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers)."""
        name, window = self.limit_class, int(self.limit.window.total_seconds())
        return {
            "RateLimit": f'"{name}";r={self.remaining};t={max(1, round(self.reset))}',
            "RateLimit-Policy": f'"{name}";q={self.limit.most};w={window}',
        }


@dataclass(slots=True)
class _Counter:
    key: str
    ends: float
    own: int = 0
    others: int = 0


class SharedCounts(Protocol):
    """Tells the processes of a deployment of each other's counts."""

    async def share(self, own: Mapping[str, tuple[int, int]]) -> Mapping[str, int]:
        """Say how many requests this process has counted, and learn how many all have.

        ``own``: counter → requests so far, and milliseconds for which the count is of interest. The answer has the
        same counters. To say the same again changes nothing. Raises OSError when there is no answer.
        """
        ...


class Limiter:
    """Fixed windows aligned to the clock, so that every process means the same window."""

    def __init__(
        self,
        limits: Mapping[LimitClass, Limit],
        *,
        clock: Callable[[], float],
        shared: SharedCounts | None = None,
        on_shared_failure: Callable[[], None] = lambda: None,
    ) -> None:
        """``clock`` gives seconds since the epoch; ``on_shared_failure`` counts reconciliations that failed."""
        self._limits = dict(limits)
        self._clock = clock
        self._shared = shared
        self._on_shared_failure = on_shared_failure
        self._counters: dict[str, _Counter] = {}
        #: Keys with something to send.
        self._unsent: set[str] = set()

    def check(self, limit_class: LimitClass, subject: str, own: Limit | None = None) -> Standing | None:
        """Count one request of ``subject``, against its ``own`` limit if it has one. None where no limit applies.

        Raises RateLimited.
        """
        limit = own or self._limits.get(limit_class)
        if limit is None:
            return None
        now = self._clock()
        counter = self._counter(limit_class, subject, limit, now)
        standing = _judge(limit_class, limit, counter, now)
        self._count(counter)
        return standing

    def check_conversation(self, conversation: str, client: str) -> Standing | None:
        """Count one request of a conversation, whose standing it returns, and of the address that it comes from.

        Raises RateLimited for either.
        """
        standing = self.check(LimitClass.CHAT, conversation)
        self.check(LimitClass.CHAT_ADDRESS, client)
        return standing

    def check_failures(self, subject: str) -> Standing | None:
        """Judge without counting. Raises RateLimited when too many of this client's attempts have failed."""
        limit = self._limits.get(LimitClass.FAILURES)
        if limit is None:
            return None
        now = self._clock()
        return _judge(LimitClass.FAILURES, limit, self._counter(LimitClass.FAILURES, subject, limit, now), now)

    def count_failure(self, subject: str) -> None:
        """Count one failed attempt."""
        limit = self._limits.get(LimitClass.FAILURES)
        if limit is not None:
            self._count(self._counter(LimitClass.FAILURES, subject, limit, self._clock()))

    def _count(self, counter: _Counter) -> None:
        counter.own += 1
        self._unsent.add(counter.key)

    def _counter(self, limit_class: LimitClass, subject: str, limit: Limit, now: float) -> _Counter:
        """The counter of the window that ``now`` lies in."""
        seconds = limit.window.total_seconds()
        window = int(now // seconds)
        key = f"{limit_class}:{subject}:{window}"
        counter = self._counters.get(key)
        if counter is None:
            if len(self._counters) >= MOST_COUNTERS:
                self._forget(next(iter(self._counters)))
            counter = self._counters[key] = _Counter(key, ends=(window + 1) * seconds)
        return counter

    def _forget(self, key: str) -> None:
        del self._counters[key]
        self._unsent.discard(key)

    async def reconcile(self) -> None:
        """Send what was counted here and learn the totals. Keeps the counts when the store does not answer."""
        now = self._clock()
        for key in [k for k, c in self._counters.items() if c.ends <= now]:
            self._forget(key)
        if self._shared is None:
            self._unsent.clear()
            return
        waiting = sorted(self._unsent)
        for start in range(0, len(waiting), MOST_AT_ONCE):
            try:
                await self._send(self._shared, waiting[start : start + MOST_AT_ONCE], now)
            except OSError:
                self._on_shared_failure()
                return

    async def _send(self, shared: SharedCounts, keys: Sequence[str], now: float) -> None:
        counted = {key: self._counters[key] for key in keys if key in self._counters}
        own = {key: (counter.own, int((counter.ends - now) * 1000) + 1000) for key, counter in counted.items()}
        for key, total in (await shared.share(own)).items():
            said = own[key][0]
            counted[key].others = max(0, total - said)
            if counted[key].own == said:
                self._unsent.discard(key)

    async def run(self, stop: asyncio.Event) -> None:
        """Reconcile every 200 ms until ``stop``."""
        while not stop.is_set():
            await self.reconcile()
            await _pause(stop, RECONCILE_SECONDS)


def _judge(limit_class: LimitClass, limit: Limit, counter: _Counter, now: float) -> Standing:
    """Where the client stands once this request is counted. Raises RateLimited."""
    used = counter.own + counter.others
    rest = max(0.0, counter.ends - now)
    if used < limit.most:
        return Standing(limit_class, limit, limit.most - used - 1, rest)
    raise RateLimited(
        f"{limit.most} in {int(limit.window.total_seconds())} s",
        delay=timedelta(seconds=rest),
        limit=limit_class,
        standing=Standing(limit_class, limit, 0, rest).headers(),
    )


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
