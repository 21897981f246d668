"""When a send waits for the morning of its recipient."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.mail import sql
from ccl_service.mail.jobs import Sender
from ccl_service.mail.model import Accepted, Hold
from tests.service.mail.desk import POLICY, Desk, Says


def at(hour: int) -> datetime:
    """An hour of a winter day, UTC; Chicago is six hours behind."""
    return datetime(2026, 1, 15, hour, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "requested", "held_for"),
    [
        (at(18), None, None),
        (at(5), None, timedelta(hours=8, minutes=30)),
        (at(5), at(5) - timedelta(minutes=14), None),
        (at(5), at(5) - timedelta(minutes=16), timedelta(hours=8, minutes=30)),
        (at(13), None, timedelta(minutes=30)),
        (at(14), None, None),
    ],
)
async def test_uploaded_people_are_written_to_in_their_daytime_and_askers_at_once(
    desk: Desk,
    monkeypatch: pytest.MonkeyPatch,
    now: datetime,
    requested: datetime | None,
    held_for: timedelta | None,
) -> None:
    real = sql.plan

    async def as_of(*args: Any) -> Any:
        plan = await real(*args)
        return replace(plan, now=now, requested_at=requested) if plan else None

    monkeypatch.setattr(sql, "plan", as_of)
    provider = Says(Accepted("1@mg.example.com"))
    sender = Sender(desk.db, desk.queue, provider, policy=POLICY, keys=desk.keys, jitter=lambda: 0.0)
    (work,) = await desk.queue.claim(uuid4(), timedelta(minutes=1), 1)
    await sender.handle(work)
    send = await desk.send()
    if held_for is None:
        assert len(provider.letters) == 1
    else:
        assert (send["state"], send["held"], provider.letters) == ("queued", Hold.QUIET_HOURS, [])
        assert abs(send["wait"] - held_for) < timedelta(seconds=30)
