"""Counting, alone and together."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from ccl_service.platform.limits import Limit, LimitClass, Limiter
from ccl_service.platform.problems import RateLimited

WINDOW = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_060.0

    def __call__(self) -> float:
        return self.now


class Counts:
    """Shared counters in memory; ``away`` makes it fail like a connection."""

    def __init__(self) -> None:
        self.totals: dict[str, int] = {}
        self.away = False

    async def add(self, deltas: Mapping[str, int], ttl_ms: Mapping[str, int]) -> Mapping[str, int]:
        if self.away:
            raise ConnectionError
        for key, delta in deltas.items():
            self.totals[key] = self.totals.get(key, 0) + delta
        return {key: self.totals[key] for key in deltas}


def limiter(clock: Clock, shared: Counts | None = None, failures: list[int] | None = None) -> Limiter:
    limits = {LimitClass.DEFAULT: Limit(3, WINDOW), LimitClass.FAILURES: Limit(2, WINDOW)}
    count = (failures if failures is not None else []).append
    return Limiter(limits, clock=clock, shared=shared, on_shared_failure=lambda: count(1))


def used_up(one: Limiter, subject: str = "a") -> bool:
    try:
        one.check(LimitClass.DEFAULT, subject)
    except RateLimited:
        return True
    return False


def test_the_request_after_the_last_is_refused_until_the_window_ends() -> None:
    clock = Clock()
    one = limiter(clock)
    assert [used_up(one) for _ in range(4)] == [False, False, False, True]
    with pytest.raises(RateLimited) as caught:
        one.check(LimitClass.DEFAULT, "a")
    assert caught.value.delay == timedelta(seconds=20)
    clock.now += 20
    assert not used_up(one)


def test_clients_do_not_share_and_a_class_without_limit_has_none() -> None:
    one = limiter(Clock())
    assert [used_up(one, s) for s in "abababab"] == [False] * 6 + [True] * 2
    assert one.check(LimitClass.NONE, "a") is None


def test_only_failures_count_in_their_class() -> None:
    one = limiter(Clock())
    for _ in range(10):
        one.check_failures("a")
    one.count_failure("a")
    one.count_failure("a")
    with pytest.raises(RateLimited):
        one.check_failures("a")


async def test_two_processes_share_one_limit_after_reconciling() -> None:
    clock, shared = Clock(), Counts()
    one, two = limiter(clock, shared), limiter(clock, shared)
    assert not used_up(one)
    assert not used_up(one)
    await one.reconcile()
    assert not used_up(two)
    await two.reconcile()
    assert used_up(two)
    await one.reconcile()


async def test_a_store_that_is_away_loses_no_count_and_stops_nobody() -> None:
    clock, shared, failures = Clock(), Counts(), list[int]()
    one = limiter(clock, shared, failures)
    shared.away = True
    assert not used_up(one)
    await one.reconcile()
    assert failures == [1]
    assert not used_up(one)
    shared.away = False
    await one.reconcile()
    assert list(shared.totals.values()) == [2]
    assert not used_up(one)
    assert used_up(one)


async def test_ended_windows_are_forgotten() -> None:
    clock = Clock()
    one = limiter(clock)
    used_up(one)
    clock.now += 60
    await one.reconcile()
    assert not one._counters
