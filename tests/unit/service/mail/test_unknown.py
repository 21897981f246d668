"""What the provider's log proves about a send without an answer, and when."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.mail.unknown import PROOF_AFTER, RETENTION, SKEW, Judgement, UnknownSend, judge, stretches

SENT = datetime(2026, 11, 23, 18, 0, tzinfo=UTC)
ACCOUNT = "https://api.mailgun.net/mg.example.com"


def send(age: timedelta = timedelta(0), via: str | None = ACCOUNT) -> UnknownSend:
    return UnknownSend(UUID(int=1), SENT, SENT + age, 0, via)


@pytest.mark.parametrize(
    ("age", "via", "complete", "judgement"),
    [
        (PROOF_AFTER, ACCOUNT, True, Judgement.WAIT),
        (PROOF_AFTER + timedelta(seconds=1), ACCOUNT, True, Judgement.NOT_TAKEN),
        (PROOF_AFTER + timedelta(seconds=1), ACCOUNT, False, Judgement.WAIT),
        (PROOF_AFTER + timedelta(seconds=1), "https://api.eu.mailgun.net/mg.example.com", True, Judgement.WAIT),
        (PROOF_AFTER + timedelta(seconds=1), None, True, Judgement.WAIT),
        (RETENTION, ACCOUNT, True, Judgement.NOT_TAKEN),
        (RETENTION + timedelta(seconds=1), ACCOUNT, True, Judgement.LOST),
        (RETENTION + timedelta(seconds=1), None, False, Judgement.LOST),
    ],
)
def test_absence_proves_something_late_enough_in_the_right_log_read_whole_and_not_too_late(
    age: timedelta, via: str | None, complete: bool, judgement: Judgement
) -> None:
    assert judge(send(age, via), account=ACCOUNT, complete=complete) is judgement


@given(st.lists(st.integers(0, 200), max_size=30))
def test_each_send_is_in_one_stretch_that_reaches_around_it_and_stretches_do_not_touch(minutes: list[int]) -> None:
    sends = [
        UnknownSend(UUID(int=number), SENT + timedelta(minutes=minute), SENT, 0, None)
        for number, minute in enumerate(minutes)
    ]
    found = stretches(sends)
    assert sorted(one.id for stretch in found for one in stretch.sends) == sorted(one.id for one in sends)
    for stretch in found:
        for one in stretch.sends:
            assert stretch.begin <= one.sent_at - SKEW
            assert one.sent_at + PROOF_AFTER <= stretch.end
    assert all(before.end < after.begin for before, after in pairwise(found))
