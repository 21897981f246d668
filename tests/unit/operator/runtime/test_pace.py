"""Back-off and token bucket."""

import pytest

from ccl_operator.runtime.backoff import Backoff
from ccl_operator.runtime.pace import TokenBucket
from tests.unit.operator.runtime.clock import Clock


@pytest.mark.parametrize(("failures", "longest"), [(1, 1), (2, 2), (3, 4), (7, 64), (8, 120), (10_000, 120)])
def test_back_off_doubles_up_to_two_minutes_and_half_of_it_is_jitter(failures: int, longest: float) -> None:
    delays = [Backoff(1.0, 120.0, random=lambda share=share: share).delay(failures) for share in (0.0, 1.0)]
    assert delays == [longest / 2, longest]


def test_a_bucket_gives_its_burst_and_then_its_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(rate=2.0, burst=3.0, clock=clock)
    assert [bucket.try_take() for _ in range(4)] == [True, True, True, False]
    clock.now = 0.5
    assert [bucket.try_take() for _ in range(2)] == [True, False]


def test_a_bucket_saves_up_no_more_than_its_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(rate=100.0, burst=2.0, clock=clock)
    clock.now = 1000.0
    assert [bucket.try_take() for _ in range(3)] == [True, True, False]
