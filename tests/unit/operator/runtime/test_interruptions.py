"""A moment's trouble is nobody's business, a lasting one is."""

from ccl_operator.actions import Key
from ccl_operator.runtime.interruptions import LONG, MANY, Interruptions
from tests.unit.operator.runtime.clock import Clock

ONE, OTHER = Key("loans", "one"), Key("loans", "other")


def test_the_fifth_in_a_row_is_told_whatever_the_time() -> None:
    found = Interruptions(Clock())
    assert [found.note(ONE) for _ in range(MANY)] == [False] * (MANY - 1) + [True]
    assert found.lasting() == 1


def test_after_a_minute_the_next_is_told_however_few_there_were() -> None:
    clock = Clock()
    found = Interruptions(clock)
    assert not found.note(ONE)
    clock.now = LONG
    assert found.note(ONE)


def test_a_pass_that_comes_to_its_end_ends_the_row_of_its_object_alone() -> None:
    found = Interruptions(Clock())
    for key in (ONE, OTHER) * MANY:
        found.note(key)
    found.over(ONE)
    assert found.lasting() == 1
    assert not found.note(ONE)
