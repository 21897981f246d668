"""Counting, alone and together."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from ccl_service.platform import limits
from ccl_service.platform.limits import Limit, LimitClass, Limiter
from ccl_service.platform.problems import RateLimited

WINDOW = timedelta(seconds=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000_060.0

    def __call__(self) -> float:
        return self.now


class Counts:
    """What two processes share, in memory. ``away`` makes it fail like a connection, ``lost`` like a late answer."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], int] = {}
        self.sizes: list[int] = []
        self.away = self.lost = False

    def of(self, process: str) -> "View":
        return View(self, process)

    @property
    def totals(self) -> list[int]:
        keys = {key for key, _ in self.held}
        return sorted(sum(n for (k, _), n in self.held.items() if k == key) for key in keys)


class View:
    """One process's access to ``Counts``."""

    def __init__(self, counts: Counts, process: str) -> None:
        self._counts, self._process = counts, process

    async def share(self, own: Mapping[str, tuple[int, int]]) -> Mapping[str, int]:
        if self._counts.away:
            raise ConnectionError
        held = self._counts.held
        self._counts.sizes.append(len(own))
        held.update({(key, self._process): count for key, (count, _) in own.items()})
        if self._counts.lost:
            raise TimeoutError
        return {key: sum(n for (k, _), n in held.items() if k == key) for key in own}


def limiter(clock: Clock, shared: View | None = None, failures: list[int] | None = None) -> Limiter:
    classes = {LimitClass.DEFAULT: Limit(3, WINDOW), LimitClass.FAILURES: Limit(2, WINDOW)}
    count = (failures if failures is not None else []).append
    return Limiter(classes, clock=clock, shared=shared, on_shared_failure=lambda: count(1))


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
    one, two = limiter(clock, shared.of("1")), limiter(clock, shared.of("2"))
    assert not used_up(one)
    assert not used_up(one)
    await one.reconcile()
    assert not used_up(two)
    await two.reconcile()
    assert used_up(two)
    await one.reconcile()


async def test_a_store_that_is_away_loses_no_count_and_stops_nobody() -> None:
    clock, shared, failures = Clock(), Counts(), list[int]()
    one = limiter(clock, shared.of("1"), failures)
    shared.away = True
    assert not used_up(one)
    await one.reconcile()
    assert failures == [1]
    assert not used_up(one)
    shared.away = False
    await one.reconcile()
    assert shared.totals == [2]
    assert not used_up(one)
    assert used_up(one)


async def test_counts_whose_answer_is_lost_are_not_counted_twice() -> None:
    shared, failures = Counts(), list[int]()
    one = limiter(Clock(), shared.of("1"), failures)
    shared.lost = True
    for _ in range(2):
        assert not used_up(one)
        await one.reconcile()
    assert failures == [1, 1]
    shared.lost = False
    await one.reconcile()
    assert shared.totals == [2]
    assert [used_up(one), used_up(one)] == [False, True]


async def test_many_clients_are_sent_in_pieces_and_each_only_when_it_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_AT_ONCE", 2)
    shared = Counts()
    one = limiter(Clock(), shared.of("1"))
    for number in range(5):
        used_up(one, str(number))
    await one.reconcile()
    assert shared.sizes == [2, 2, 1]
    used_up(one, "3")
    await one.reconcile()
    assert shared.sizes == [2, 2, 1, 1]
    assert shared.totals == [1, 1, 1, 1, 2]


def test_beyond_the_most_counters_the_oldest_goes_in_the_callers_favour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_COUNTERS", 3)
    one = limiter(Clock())
    assert [used_up(one, "a") for _ in range(4)] == [False, False, False, True]
    for subject in "bcd":
        used_up(one, subject)
    assert len(one._counters) == 3
    assert not used_up(one, "a")


def test_a_client_with_a_limit_of_its_own_is_held_to_that() -> None:
    one = limiter(Clock())
    own = Limit(1, WINDOW)
    assert one.check(LimitClass.KEY, "k", own) is not None
    with pytest.raises(RateLimited):
        one.check(LimitClass.KEY, "k", own)
    assert one.check(LimitClass.KEY, "other", Limit(5, WINDOW)) is not None


async def test_ended_windows_are_forgotten() -> None:
    clock = Clock()
    one = limiter(clock)
    used_up(one)
    clock.now += 60
    await one.reconcile()
    assert not one._counters
