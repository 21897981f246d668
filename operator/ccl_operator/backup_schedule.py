"""When a backup should have succeeded, by its schedule. Pure cron arithmetic, with the time zone's own hours."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

#: A run may start late and take its time; after half an interval more it is missed.
SLACK: Final = timedelta(minutes=30)


def overdue_at(schedule: str, time_zone: str, since: datetime) -> datetime | None:
    """When, after a success at ``since``, the lack of another one is worth an alarm: half an interval and the slack
    after the next time of the schedule. None when the schedule is none, or names no time at all."""
    try:
        times = CronSim(schedule, since.astimezone(ZoneInfo(time_zone)))
        # Between two times of one zone Python would count hours by the clock on the wall.
        following, after = next(times).astimezone(UTC), next(times).astimezone(UTC)
    # A file that is no time zone, or a name that leaves the folder, raises more than KeyError.
    except (CronSimError, StopIteration, KeyError, ValueError, OSError):
        return None
    return following + (after - following) / 2 + SLACK
