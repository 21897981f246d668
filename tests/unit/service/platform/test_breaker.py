"""When calls are held back, and when one tries again."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.breaker import FAILURES, FIRST_REST, LONGEST_REST, Breaker, State

REST = FIRST_REST.total_seconds()


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(now)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0)
    assert breaker.state(0) is State.CLOSED
    breaker.failed(0)
    assert breaker.state(0) is State.OPEN
    assert breaker.remaining(10) == timedelta(seconds=REST - 10)


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker()
    for _ in range(FAILURES * 3):
        breaker.failed(0)
        breaker.failed(0)
        breaker.succeeded()
    assert breaker.state(0) is State.CLOSED


def test_after_its_rest_one_call_goes_out_and_others_wait_for_its_result() -> None:
    breaker = opened()
    assert breaker.state(REST) is State.HALF_OPEN
    assert breaker.remaining(REST) is None
    breaker.begin(REST)
    assert breaker.remaining(REST + 1) is not None


def test_a_test_that_never_ends_does_not_keep_it_shut_for_ever() -> None:
    breaker = opened()
    breaker.begin(REST)
    assert breaker.remaining(REST * 2) is None


def test_a_successful_test_closes_it() -> None:
    breaker = opened()
    breaker.begin(REST)
    breaker.succeeded()
    assert breaker.state(REST) is State.CLOSED
    assert breaker.remaining(REST) is None


def test_each_failed_test_doubles_the_rest_up_to_the_longest() -> None:
    breaker, now, rests = opened(), REST, []
    for _ in range(8):
        breaker.begin(now)
        breaker.failed(now)
        left = breaker.remaining(now)
        assert left is not None
        rests.append(left)
        now += left.total_seconds()
    assert rests[:3] == [FIRST_REST * 2, FIRST_REST * 4, FIRST_REST * 8]
    assert max(rests) == rests[-1] == LONGEST_REST


@given(st.lists(st.tuples(st.sampled_from(["begin", "ok", "fail"]), st.floats(0, 1000))))
def test_it_never_rests_longer_than_the_longest(steps: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for step, waited in steps:
        now += waited
        if step == "begin":
            breaker.begin(now)
        elif step == "ok":
            breaker.succeeded()
        else:
            breaker.failed(now)
        left = breaker.remaining(now)
        assert left is None or left <= LONGEST_REST
