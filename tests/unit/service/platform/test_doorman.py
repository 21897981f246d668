"""Who gets a place, and who gives one up."""

import pytest

from ccl_service.platform.descriptors import FEWEST, OWN, connection_places
from ccl_service.platform.doorman import SPARE, Doorman, Place
from ccl_service.platform.problems import TooManyConnections
from ccl_service.platform.proxy import parse_trust


class Strangers:
    """Connections from anywhere; those that had to give their place up."""

    def __init__(self, doorman: Doorman) -> None:
        self._doorman = doorman
        self.gone: list[int] = []

    def come(self, count: int) -> list[Place]:
        return [
            self._doorman.enter("203.0.113.9", lambda number=number: self.gone.append(number))  # type: ignore[misc]
            for number in range(count)
        ]


def test_without_a_cap_every_place_is_an_ordinary_one() -> None:
    assert not any(place.spare for place in Strangers(Doorman()).come(1000))


def test_beyond_the_last_place_there_are_spare_ones() -> None:
    places = Strangers(Doorman(places=3)).come(5)
    assert [place.spare for place in places] == [False, False, False, True, True]


def test_a_place_that_was_left_is_ordinary_again() -> None:
    doorman = Doorman(places=3)
    first, *_ = Strangers(doorman).come(4)
    doorman.leave(first)
    doorman.leave(first := Strangers(doorman).come(1)[0])
    assert first.spare  # three others are there
    assert doorman.open == 3


def test_whoever_waited_longest_in_a_spare_place_gives_it_up_and_is_counted() -> None:
    refused = []
    strangers = Strangers(Doorman(places=2, on_full=lambda: refused.append(1)))
    strangers.come(2 + SPARE)
    assert strangers.gone == []
    strangers.come(3)
    assert strangers.gone == [2, 3, 4]
    assert len(refused) == 3


def test_a_probe_that_has_been_heard_is_not_sent_away() -> None:
    doorman = Doorman(places=0)
    strangers = Strangers(doorman)
    first, *_ = strangers.come(SPARE)
    doorman.heard(first)
    strangers.come(2)
    assert strangers.gone == [1]


def test_a_proxy_has_no_cap_of_its_own_but_shares_the_places() -> None:
    doorman = Doorman(most_per_client=1, trust=parse_trust("10.0.0.0/8"), places=2)
    found = [doorman.enter("10.0.0.1", lambda: None) for _ in range(3)]
    assert [place.spare for place in found] == [False, False, True]


def test_an_address_has_no_more_places_than_it_may_and_gets_them_back() -> None:
    refused = []
    doorman = Doorman(most_per_client=2, on_refused=lambda: refused.append(1))
    first, _ = Strangers(doorman).come(2)
    with pytest.raises(TooManyConnections):
        Strangers(doorman).come(1)
    assert (doorman.open, len(refused)) == (2, 1)
    doorman.leave(first)
    Strangers(doorman).come(1)


def test_what_the_process_needs_for_itself_is_kept_from_callers() -> None:
    assert connection_places(1024, pooled=20) == 1024 - 20 - OWN - SPARE
    assert connection_places(64, pooled=20) == FEWEST
