from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_contract.backup import backup_id
from ccl_operator.backup.retention import UNFINISHED_AFTER, SetRecord, SetState, decide, stale_uploads

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)

_AGES = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=20))
_RECORDS = st.lists(
    st.builds(
        lambda age, entropy, state: SetRecord(backup_id(NOW - age, entropy), state, NOW - age),
        _AGES,
        st.binary(min_size=3, max_size=3),
        st.sampled_from(SetState),
    ),
    unique_by=lambda record: record.id,
    max_size=30,
)
_KEEP = st.integers(min_value=1, max_value=12)


def _ids(records: list[SetRecord], state: SetState) -> list[str]:
    return sorted((record.id for record in records if record.state is state), reverse=True)


@given(_RECORDS, _KEEP)
def test_exactly_the_newest_published_sets_stay(records: list[SetRecord], keep_last: int) -> None:
    verdict = decide(records, keep_last=keep_last, now=NOW)
    assert list(verdict.kept) == _ids(records, SetState.PUBLISHED)[:keep_last]


@given(_RECORDS, _KEEP)
def test_kept_and_removed_never_overlap_and_damaged_sets_are_in_neither(
    records: list[SetRecord], keep_last: int
) -> None:
    verdict = decide(records, keep_last=keep_last, now=NOW)
    assert not set(verdict.kept) & set(verdict.removed)
    assert not (set(verdict.kept) | set(verdict.removed)) & set(_ids(records, SetState.DAMAGED))


@given(_RECORDS, _KEEP)
def test_an_unfinished_set_goes_exactly_when_it_is_48_hours_untouched(records: list[SetRecord], keep_last: int) -> None:
    removed = set(decide(records, keep_last=keep_last, now=NOW).removed)
    for record in records:
        if record.state is SetState.UNFINISHED:
            assert (record.id in removed) == (NOW - record.last_write > UNFINISHED_AFTER)


@given(_RECORDS, _KEEP)
def test_a_second_pruning_has_nothing_left_to_remove(records: list[SetRecord], keep_last: int) -> None:
    first = decide(records, keep_last=keep_last, now=NOW)
    left = [record for record in records if record.id not in first.removed]
    second = decide(left, keep_last=keep_last, now=NOW)
    assert (second.kept, second.removed) == (first.kept, ())


@given(_RECORDS, _KEEP, st.randoms())
def test_the_order_of_a_listing_does_not_matter(records: list[SetRecord], keep_last: int, random: object) -> None:
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, keep_last=keep_last, now=NOW) == decide(records, keep_last=keep_last, now=NOW)


@given(_RECORDS, _KEEP, st.data())
def test_a_protected_set_is_never_removed_and_costs_no_other_its_place(
    records: list[SetRecord], keep_last: int, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(records)).id if records else "absent"
    verdict = decide(records, keep_last=keep_last, now=NOW, protected=frozenset({name}))
    assert name not in verdict.removed
    assert set(decide(records, keep_last=keep_last, now=NOW).kept) <= set(verdict.kept)


def test_a_set_just_made_stays_although_a_clock_once_ran_ahead() -> None:
    ahead = SetRecord("20270101T000000Z-aaaaaa", SetState.PUBLISHED, NOW)
    made = SetRecord("20260301T120000Z-bbbbbb", SetState.PUBLISHED, NOW)
    verdict = decide([ahead, made], keep_last=1, now=NOW, protected=frozenset({made.id}))
    assert verdict.kept == (ahead.id, made.id)


def test_keeping_none_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        decide([], keep_last=0, now=NOW)


def test_a_published_set_is_never_a_stale_upload() -> None:
    old = NOW - timedelta(days=300)
    assert stale_uploads([SetRecord(backup_id(old, b"abc"), SetState.PUBLISHED, old)], NOW) == ()
