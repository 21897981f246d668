"""How old a copy is, and who has to see what they wrote."""

from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.replicas import FRESH_SECONDS, MOST_WRITERS, PrimaryLog, Writers

INFINITE = float("inf")


def seen(*marks: tuple[float, int]) -> PrimaryLog:
    log = PrimaryLog(keep_seconds=20)
    for now, position in marks:
        log.saw(position, now)
    return log


def test_a_replica_that_has_everything_is_as_old_as_the_last_look() -> None:
    assert seen((0, 100), (2, 200)).lag(200, now=2) == 0
    assert seen((0, 100), (2, 200)).lag(205, now=3) == 1


def test_a_replica_that_stands_still_grows_old_while_the_primary_writes() -> None:
    assert seen((0, 100), (2, 200), (4, 300)).lag(100, now=4) == 4


def test_a_replica_of_a_primary_that_writes_nothing_is_fresh() -> None:
    assert seen((0, 100), (2, 100), (4, 100)).lag(100, now=4) == 0


def test_a_replica_looks_ever_older_while_the_primary_cannot_be_asked() -> None:
    assert seen((0, 100)).lag(100, now=9) == 9


def test_what_is_no_replica_or_further_behind_than_is_remembered_is_infinitely_old() -> None:
    assert seen((0, 100)).lag(None, now=0) == INFINITE
    assert seen((0, 100)).lag(99, now=0) == INFINITE
    assert seen((0, 100), (30, 200)).lag(150, now=30) == INFINITE
    assert PrimaryLog().lag(100, now=0) == INFINITE


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=10).map(sorted), st.integers(0, 1000), st.integers(0, 1000))
def test_who_has_replayed_more_is_never_older(positions: list[int], one: int, other: int) -> None:
    log = seen(*((float(at), position) for at, position in enumerate(positions)))
    now = float(len(positions))
    assert log.lag(max(one, other), now) <= log.lag(min(one, other), now)


def test_a_writer_is_remembered_until_every_copy_that_is_read_has_caught_up() -> None:
    now = [0.0]
    writers = Writers(lambda: now[0])
    writers.wrote("a")
    assert writers.recently("a")
    assert not writers.recently("b")
    now[0] = FRESH_SECONDS
    assert not writers.recently("a")


def test_only_so_many_writers_are_remembered_and_the_oldest_goes() -> None:
    writers = Writers(lambda: 0.0)
    for number in range(MOST_WRITERS + 1):
        writers.wrote(str(number))
    assert not writers.recently("0")
    assert writers.recently("1")
