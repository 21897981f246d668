"""Quiet hours in the recipient's time zone, and who is exempt."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.mail.model import CLOSES, OPENS, exempt, quiet_until
from ccl_service.mail.zones import ANYWHERE, zones_of, zones_of_phone, zones_of_zip

NY, LA = "America/New_York", "America/Los_Angeles"


def new_york(hour: int, minute: int = 0, *, day: int = 15) -> datetime:
    return datetime(2026, 1, day, hour, minute, tzinfo=ZoneInfo(NY))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        (new_york(7, 59), new_york(8)),
        (new_york(8), None),
        (new_york(20, 59), None),
        (new_york(21), new_york(8, day=16)),
        (new_york(0), new_york(8)),
    ],
)
def test_mail_waits_from_nine_in_the_evening_to_eight_in_the_morning(now: datetime, until: datetime | None) -> None:
    assert quiet_until([NY], now) == until


def test_with_two_possible_zones_both_must_be_awake() -> None:
    assert quiet_until([NY, LA], new_york(9)) == new_york(11)
    assert quiet_until([NY, LA], new_york(12)) is None
    assert quiet_until([NY, LA], new_york(21)) == new_york(11, day=16)


def test_the_morning_after_a_change_of_clocks_begins_at_eight_local_time() -> None:
    saturday = datetime(2026, 3, 7, 22, 0, tzinfo=ZoneInfo(NY))
    until = quiet_until([NY], saturday)
    assert until == datetime(2026, 3, 8, 12, 0, tzinfo=UTC)


MOMENTS = st.integers(0, 2 * 365 * 24 * 60).map(lambda minutes: new_york(0) + timedelta(minutes=minutes))


@given(MOMENTS, st.sets(st.sampled_from(sorted(ANYWHERE)), min_size=1))
def test_the_time_waited_for_suits_every_zone_and_is_less_than_a_day_away(now: datetime, zones: set[str]) -> None:
    until = quiet_until(zones, now) or now
    assert now <= until < now + timedelta(hours=25)
    assert all(OPENS <= until.astimezone(ZoneInfo(zone)).time() < CLOSES for zone in zones)


@pytest.mark.parametrize(
    ("age", "is_exempt"),
    [(timedelta(0), True), (timedelta(minutes=15), True), (timedelta(minutes=16), False), (timedelta(days=-1), False)],
)
def test_an_answer_within_fifteen_minutes_of_the_person_s_request_is_exempt(age: timedelta, is_exempt: bool) -> None:
    now = new_york(3)
    assert exempt(now - age, now) is is_exempt


def test_without_a_request_of_their_own_nobody_is_exempt() -> None:
    assert not exempt(None, new_york(3))


@pytest.mark.parametrize(
    ("zip_code", "zones"),
    [
        ("10001", {NY}),
        ("60601", {"America/Chicago"}),
        ("79901", {"America/Chicago", "America/Denver"}),
        ("80202", {"America/Denver"}),
        ("85001", {"America/Phoenix"}),
        ("90012", {LA}),
        ("96813", {"Pacific/Honolulu"}),
        ("99501", {"America/Anchorage"}),
        ("32501", {"America/Chicago"}),
        ("09012", set()),
    ],
)
def test_a_zip_code_tells_the_zone(zip_code: str, zones: set[str]) -> None:
    assert zones_of_zip(zip_code) == zones


def test_every_zip_prefix_names_zones_that_exist() -> None:
    zones = {zone for prefix in range(1000) for zone in zones_of_zip(f"{prefix:03}00")}
    assert all(ZoneInfo(zone) for zone in zones)


def test_zip_and_phone_that_disagree_are_both_possible() -> None:
    assert zones_of("10001", "+12135550100") == {NY, LA}


def test_who_tells_nothing_may_be_anywhere() -> None:
    assert zones_of(None, None) == ANYWHERE
    assert zones_of_phone("+12125550100") == {NY}
