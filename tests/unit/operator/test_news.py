"""Which changes of conditions become events: every condition, from every state into every other."""

import pytest

from ccl_operator import report
from ccl_operator.actions import Event
from ccl_operator.api.status import Condition, SecretsStatus, Status
from tests.unit.operator.samples import START

NONE, TRUE, FALSE, UNKNOWN = "", "True", "False", "Unknown"
BEFORE = (NONE, TRUE, FALSE, UNKNOWN)
ANY = frozenset(BEFORE)
#: condition, new status → the old ones from which it is news, and the event.
NEWS = {
    ("Progressing", TRUE): (ANY - {TRUE}, "Normal", "RolloutStarted"),
    ("Promoted", TRUE): (ANY - {TRUE}, "Normal", "Why"),
    ("Stalled", TRUE): (ANY - {TRUE}, "Warning", "Why"),
    ("Stalled", FALSE): ({TRUE}, "Normal", "NoLongerStalled"),
    ("Ready", TRUE): (ANY - {TRUE}, "Normal", "Why"),
    ("Ready", FALSE): ({TRUE}, "Warning", "Why"),
    ("SecretsValid", TRUE): ({FALSE}, "Normal", "Why"),
    ("DatabaseReachable", FALSE): (ANY - {FALSE}, "Warning", "Why"),
    ("DatabaseReachable", TRUE): ({FALSE}, "Normal", "Why"),
    ("BackupHealthy", TRUE): (ANY - {TRUE}, "Normal", "Why"),
    ("BackupHealthy", FALSE): (ANY - {FALSE}, "Warning", "Why"),
    ("Paused", TRUE): (ANY - {TRUE}, "Normal", "Why"),
    ("Paused", FALSE): ({TRUE}, "Normal", "Resumed"),
}


def told(kind: str, status: str, reason: str = "Why", message: str = "words") -> Status:
    if not status:
        return Status()
    found = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": START}
    return Status(conditions=(Condition.model_validate(found),))


@pytest.mark.parametrize("kind", report.TYPES)
@pytest.mark.parametrize("after", [TRUE, FALSE, UNKNOWN])
@pytest.mark.parametrize("before", BEFORE, ids=lambda status: status or "none")
def test_a_change_of_a_condition_is_told_once_or_not_at_all(kind: str, before: str, after: str) -> None:
    sources, event_type, reason = NEWS.get((kind, after), (frozenset(), "", ""))
    events = report.events(told(kind, before), told(kind, after))
    assert [(each.type, each.reason) for each in events] == ([(event_type, reason)] if before in sources else [])
    assert all(each.message for each in events)


@pytest.mark.parametrize("kind", report.TYPES)
@pytest.mark.parametrize("status", [TRUE, FALSE, UNKNOWN])
def test_another_wording_alone_is_no_news(kind: str, status: str) -> None:
    assert report.events(told(kind, status), told(kind, status, message="other words")) == ()


@pytest.mark.parametrize(
    ("kind", "status", "type_"),
    [("Stalled", TRUE, "Warning"), ("BackupHealthy", TRUE, "Normal"), ("BackupHealthy", FALSE, "Warning")],
)
def test_another_reason_is_news_where_it_means_another_state(kind: str, status: str, type_: str) -> None:
    (event,) = report.events(told(kind, status), told(kind, status, "Other"))
    assert (event.type, event.reason) == (type_, "Other")


@pytest.mark.parametrize("reason", ["ApiError", "RotationWaiting"])
def test_of_what_is_under_way_only_what_should_not_take_so_long_is_told(reason: str) -> None:
    for before in (told("Reconciling", FALSE), told("Reconciling", TRUE, "Starting")):
        (event,) = report.events(before, told("Reconciling", TRUE, reason))
        assert (event.type, event.reason) == ("Warning", reason)
    assert report.events(told("Reconciling", FALSE), told("Reconciling", TRUE, "Starting")) == ()


def test_keys_that_have_changed_hands_are_told_but_not_the_first_ones() -> None:
    first, second = (Status(secrets=SecretsStatus(rotated_at=START.replace(year=year))) for year in (2030, 2031))
    assert report.events(Status(), first) == report.events(first, first) == ()
    assert report.events(first, second) == (
        Event("Normal", "KeysRotated", "every pod holds the new keys, and they sign from now on"),
    )
