"""What a listing brings the watch has to tell too; until then it gets older, whatever else it tells."""

from ccl_operator.actions import Manifest
from ccl_operator.runtime.hearing import Hearing
from tests.unit.operator.runtime.clock import Clock

CCL, OTHER = ("loans", "ccl"), ("loans", "other")


def version(number: int, name: str = "ccl") -> Manifest:
    return {"metadata": {"namespace": "loans", "name": name, "resourceVersion": str(number)}}


def hearing() -> tuple[Hearing, Clock]:
    clock = Clock()
    return Hearing(clock), clock


def test_a_listing_that_brings_no_news_shows_a_watch_that_is_quiet_with_reason() -> None:
    found, clock = hearing()
    clock.now = 600.0
    assert found.age() == 600.0
    found.listed({CCL})
    assert found.age() == 0.0


def test_what_the_watch_has_not_told_makes_it_older_whatever_listings_and_other_objects_say() -> None:
    found, clock = hearing()
    found.news(version(10))
    clock.now = 600.0
    found.listed({CCL, OTHER})
    found.told(version(11, "other"))
    found.told(version(9))
    assert (found.age(), found.owed()) == (600.0, {CCL: 10})
    found.told(version(10))
    assert (found.age(), found.owed()) == (0.0, {})


def test_something_newer_about_the_same_name_pays_for_it() -> None:
    found, clock = hearing()
    found.news(version(10))
    clock.now = 5.0
    found.told(version(12))
    assert (found.age(), found.owed()) == (0.0, {})


def test_what_has_gone_by_the_next_listing_is_not_owed_any_more() -> None:
    found, clock = hearing()
    found.news(version(10))
    found.news(version(11, "other"))
    clock.now = 600.0
    found.listed({OTHER})
    assert (found.age(), found.owed()) == (600.0, {OTHER: 11})
    found.listed(set())
    assert (found.age(), found.owed()) == (0.0, {})


def test_a_watch_that_tells_before_the_listing_does_owes_nothing() -> None:
    found, clock = hearing()
    clock.now = 5.0
    found.told(version(10))
    assert (found.age(), found.owed()) == (0.0, {})
