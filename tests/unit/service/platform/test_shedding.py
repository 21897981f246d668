"""Who is turned away first, and how many."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.route import Priority
from ccl_service.platform.shedding import (
    BANDS,
    FOREIGN_LAG_SECONDS,
    FULL_LAG_SECONDS,
    FULL_WAIT_SECONDS,
    LAG_EVERY_SECONDS,
    LAG_SAMPLES,
    Shedder,
    pressure,
)

URGENCY = (Priority.EXPORT, Priority.READ, Priority.WEBHOOK, Priority.CHAT, Priority.INTAKE)


def shedder(fullness: float) -> Shedder:
    """With the queue so full."""
    judge = Shedder(lambda: 0.0, slots=100_000)
    judge._lag = fullness * FOREIGN_LAG_SECONDS  # the queue that does not move by itself
    return judge


def let_in(judge: Shedder, priority: Priority, count: int = 1000) -> int:
    return sum(judge.admits(priority) for _ in range(count))


def test_every_class_but_probes_has_a_band() -> None:
    assert set(BANDS) == set(Priority) - {Priority.PROBE}


async def test_without_pressure_everybody_is_let_in() -> None:
    judge = shedder(0.0)
    assert all(judge.admits(priority) for priority in Priority)


async def test_probes_are_never_turned_away() -> None:
    assert let_in(shedder(50.0), Priority.PROBE) == 1000


@given(st.floats(0, 2))
async def test_the_more_urgent_a_class_the_more_of_it_is_let_in(fullness: float) -> None:
    shares = [BANDS[priority].share(fullness) for priority in URGENCY]
    assert shares == sorted(shares)


@given(st.sampled_from(URGENCY), st.floats(0, 2), st.floats(0, 2))
def test_more_pressure_never_lets_more_in(priority: Priority, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert BANDS[priority].share(low) >= BANDS[priority].share(high)


def test_a_more_urgent_class_is_still_whole_when_the_one_below_begins_to_be_turned_away() -> None:
    for lower, higher in pairwise(URGENCY):
        assert BANDS[higher].eases > BANDS[lower].eases
        assert BANDS[higher].shuts > BANDS[lower].shuts


@given(st.sampled_from(URGENCY), st.floats(0, 1.5))
async def test_the_share_that_is_let_in_is_spread_evenly(priority: Priority, fullness: float) -> None:
    judge = shedder(fullness)
    share = BANDS[priority].share(judge.pressure)
    assert abs(let_in(judge, priority) - 1000 * share) <= 1


def test_the_fuller_queue_counts() -> None:
    assert pressure(wait=FULL_WAIT_SECONDS / 2, lag=0.0, crowded=True) == 0.5
    assert pressure(wait=0.0, lag=FULL_LAG_SECONDS, crowded=True) == 1.0
    assert pressure(wait=FULL_WAIT_SECONDS / 2, lag=FULL_LAG_SECONDS, crowded=True) == 1.0


def test_a_late_loop_counts_for_more_when_it_has_enough_to_do() -> None:
    judge = Work(per_second=1000).judge
    for _ in range(LAG_SAMPLES):
        judge.measured(FULL_LAG_SECONDS)
    assert judge.pressure == pytest.approx(FULL_LAG_SECONDS / FOREIGN_LAG_SECONDS)
    assert judge.calm
    for _ in range(10):
        judge.begin()
    assert judge.pressure == 1.0


class Work:
    """A process that answers ``per_second`` requests while more than ten are there."""

    def __init__(self, per_second: float) -> None:
        self.now, self._gap = 0.0, 1 / per_second
        self.judge = Shedder(lambda: self.now, slots=10)

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.judge.begin()

    def answer(self, count: int) -> None:
        for _ in range(count):
            self.now += self._gap
            self.judge.end()


def test_256_readers_on_a_pool_of_10_are_busy_and_no_overload() -> None:
    work = Work(per_second=1500)
    work.begin(256)
    work.answer(100)
    work.begin(100)
    assert work.judge.wait < FULL_WAIT_SECONDS * BANDS[Priority.READ].eases


def test_the_wait_is_learnt_from_how_far_apart_answers_are() -> None:
    work = Work(per_second=200)
    work.begin(500)
    work.answer(400)
    assert work.judge.wait == pytest.approx(90 / 200, rel=0.05)


def test_nothing_is_learnt_while_there_is_little_to_do() -> None:
    work = Work(per_second=1)
    work.begin(10)
    work.answer(10)
    work.begin(20)
    assert work.judge.wait == pytest.approx(0.010)


def test_a_process_that_is_held_up_for_a_moment_is_not_thought_slow() -> None:
    work = Work(per_second=1000)
    work.begin(200)
    work.now += 60.0
    work.answer(1)
    work.answer(1)
    assert work.judge.wait < FULL_WAIT_SECONDS * BANDS[Priority.EXPORT].eases * 2


async def test_one_turn_of_the_loop_lets_in_no_more_than_the_queue_may_hold() -> None:
    """Nobody has begun yet, so that only those let in can tell how full the queue will be."""
    judge = Work(per_second=1000).judge
    let = let_in(judge, Priority.INTAKE, 10_000)
    assert 10 < let <= 10 + 1000 * FULL_WAIT_SECONDS * BANDS[Priority.INTAKE].shuts + 1
    await asyncio.sleep(LAG_EVERY_SECONDS * 2)
    assert judge.admits(Priority.INTAKE)


async def test_it_is_calm_exactly_while_everybody_is_let_in() -> None:
    for hundredths in range(200):
        judge = shedder(hundredths / 100)
        assert judge.calm == all(BANDS[priority].share(judge.pressure) == 1.0 for priority in URGENCY)


def test_single_pauses_of_the_event_loop_are_no_pressure() -> None:
    judge = shedder(0.0)
    for number in range(100):
        judge.measured(1.0 if number % 3 == 0 else 0.0)
        assert judge.pressure == 0.0


async def test_a_loop_that_is_late_all_the_time_is() -> None:
    judge = shedder(0.0)
    for _ in range(LAG_SAMPLES):
        judge.measured(FOREIGN_LAG_SECONDS * 2)
    assert judge.pressure == 2.0
    assert not judge.admits(Priority.INTAKE)


def test_pressure_goes_when_the_loop_is_on_time_again() -> None:
    judge = shedder(0.0)
    for lag in [1.0] * LAG_SAMPLES + [0.0] * (LAG_SAMPLES // 2 + 1):
        judge.measured(lag)
    assert judge.pressure == 0.0


@pytest.mark.parametrize("priority", URGENCY)
async def test_an_event_loop_with_nothing_to_do_lets_everybody_in(priority: Priority) -> None:
    judge, stop = shedder(0.0), asyncio.Event()
    running = asyncio.create_task(judge.run(stop))
    await asyncio.sleep(0)
    assert judge.admits(priority)
    stop.set()
    await running
