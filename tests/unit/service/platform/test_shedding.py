"""Who is turned away first, and how many."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.route import Priority
from ccl_service.platform.shedding import (
    BANDS,
    FULL_LAG_SECONDS,
    FULL_WAIT_SECONDS,
    LAG_SAMPLES,
    Shedder,
    pressure,
)

URGENCY = (Priority.EXPORT, Priority.READ, Priority.WEBHOOK, Priority.CHAT, Priority.INTAKE)


def shedder(fullness: float) -> Shedder:
    """With the queue for the database so full."""
    return Shedder(wait=lambda: fullness * FULL_WAIT_SECONDS)


def let_in(judge: Shedder, priority: Priority, count: int = 1000) -> int:
    return sum(judge.admits(priority) for _ in range(count))


def test_every_class_but_probes_has_a_band() -> None:
    assert set(BANDS) == set(Priority) - {Priority.PROBE}


def test_without_pressure_everybody_is_let_in() -> None:
    judge = shedder(0.0)
    assert all(judge.admits(priority) for priority in Priority)


def test_probes_are_never_turned_away() -> None:
    assert let_in(shedder(50.0), Priority.PROBE) == 1000


@given(st.floats(0, 2))
def test_the_more_urgent_a_class_the_more_of_it_is_let_in(fullness: float) -> None:
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
def test_the_share_that_is_let_in_is_spread_evenly(priority: Priority, fullness: float) -> None:
    judge = shedder(fullness)
    share = BANDS[priority].share(judge.pressure)
    assert abs(let_in(judge, priority) - 1000 * share) <= 1


def test_the_fuller_queue_counts() -> None:
    assert pressure(wait=FULL_WAIT_SECONDS / 2, lag=0.0) == 0.5
    assert pressure(wait=0.0, lag=FULL_LAG_SECONDS) == 1.0
    assert pressure(wait=FULL_WAIT_SECONDS / 2, lag=FULL_LAG_SECONDS) == 1.0


def test_256_readers_on_a_pool_of_10_are_busy_and_no_overload() -> None:
    judge = Shedder(wait=lambda: 246 * 0.010 / 10)  # each holds a connection for ten milliseconds
    assert let_in(judge, Priority.READ) == 1000


def test_it_is_calm_exactly_while_everybody_is_let_in() -> None:
    for hundredths in range(200):
        judge = shedder(hundredths / 100)
        assert judge.calm == all(BANDS[priority].share(judge.pressure) == 1.0 for priority in URGENCY)


def test_single_pauses_of_the_event_loop_are_no_pressure() -> None:
    judge = shedder(0.0)
    for number in range(100):
        judge.measured(1.0 if number % 3 == 0 else 0.0)
        assert judge.pressure == 0.0


def test_a_loop_that_is_late_all_the_time_is() -> None:
    judge = shedder(0.0)
    for _ in range(LAG_SAMPLES):
        judge.measured(FULL_LAG_SECONDS * 2)
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
