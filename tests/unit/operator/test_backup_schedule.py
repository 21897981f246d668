"""When a missing backup is worth an alarm."""

from datetime import UTC, datetime

import pytest

from ccl_operator.backup_schedule import overdue_at


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "since", "expected"),
    [
        ("0 2 * * *", "Etc/UTC", "2030-01-01T02:10", "2030-01-02T14:30"),
        ("0 2 * * *", "America/Chicago", "2030-01-01T08:10", "2030-01-02T20:30"),
        ("0 * * * *", "Etc/UTC", "2030-01-01T02:10", "2030-01-01T04:00"),
        # Only on weekdays: Friday's success is fresh until Monday.
        ("0 2 * * 1-5", "Etc/UTC", "2030-01-04T02:10", "2030-01-07T14:30"),
        # The clock goes forward: hours count as they pass, not as they are called.
        ("0 4 * * *", "Europe/Vienna", "2030-03-29T03:05", "2030-03-30T15:00"),
    ],
)
def test_half_an_interval_and_the_slack_after_the_next_time(schedule, zone, since, expected):
    assert overdue_at(schedule, zone, at(since)) == at(expected)


@pytest.mark.parametrize(
    ("schedule", "zone"),
    [("every day", "Etc/UTC"), ("0 2 30 2 *", "Etc/UTC"), ("0 2 * * *", "Mars/Base"), ("0 2 * * *", "../etc/passwd")],
)
def test_what_names_no_time_raises_no_alarm(schedule, zone):
    assert overdue_at(schedule, zone, at("2030-01-01T00:00")) is None
