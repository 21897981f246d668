"""Delays between attempts."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.work import WorkTable, backoff

FIRST, MOST = timedelta(seconds=5), timedelta(hours=1)


@given(st.integers(0, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_lies_between_half_and_all_of_what_doubling_gives(attempts: int, jitter: float) -> None:
    whole = min(FIRST * 2 ** min(attempts, 30), MOST)
    assert whole / 2 <= backoff(attempts, first=FIRST, most=MOST, jitter=jitter) <= whole


def test_the_claimable_states_read_as_the_predicate_of_the_due_index() -> None:
    assert WorkTable("sends", ("queued", "sending")).states == "'queued', 'sending'"
