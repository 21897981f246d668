"""The table of steps, with made-up facts: no order of events lets an unproven revision have the traffic."""

from datetime import timedelta
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_contract.schema import MigrationReport
from ccl_operator.api.status import Rollout, RolloutPhase, StableRevision
from ccl_operator.rollout import (
    _STEPS,
    ACTIVE,
    CandidatePod,
    Facts,
    Goal,
    Limits,
    Migration,
    State,
    advance,
    forget_retired,
    wake_at,
)
from tests.unit.operator.samples import MIGRATED, START, failing, passing

LIMITS = Limits(migration=timedelta(minutes=10), deadline=timedelta(minutes=5), min_ready=timedelta(seconds=5))
STABLE = StableRevision(revision="stable", image="i:1", since=START)
GOAL = Goal("candidate", "i:2", 2)
REPORT = MigrationReport.model_validate(MIGRATED)

answers = st.sampled_from([None, passing("candidate"), failing("candidate")])
pods = st.builds(
    CandidatePod,
    name=st.sampled_from(["a", "b"]),
    ready_since=st.sampled_from([None, START, START + timedelta(minutes=30)]),
    answer=answers,
)
migrations = st.one_of(
    st.just(Migration()),
    st.just(Migration(running=True, timed_from=START)),
    st.just(Migration(waiting=True)),
    st.just(Migration(timed_from=START + timedelta(minutes=20))),
    st.just(Migration(report=REPORT)),
    st.just(Migration(report=REPORT.model_copy(update={"own": 0, "min_compatible": 2}))),
    st.just(Migration(failure="broken")),
)
every_fact = st.builds(
    Facts,
    waiting_for=st.sampled_from([(), ("postgres",)]),
    migration=migrations,
    wanted=st.just(2),
    settled=st.booleans(),
    pods=st.lists(pods, max_size=2).map(tuple),
    old_jobs_gone=st.booleans(),
    traffic_moved=st.booleans(),
    new_jobs_ready=st.booleans(),
)
goals = st.sampled_from([GOAL, GOAL, GOAL, None, Goal("stable", "i:1", 3), Goal("other", "i:3", 4)])
walks = st.lists(st.tuples(goals, every_fact, st.integers(0, 400)), min_size=1, max_size=25)
#: No deadline: how fast the machine is today is no property of the table.
walking = settings(max_examples=60, deadline=None)


def walk(steps, state):
    now = START
    for goal, facts, wait in steps:
        now += timedelta(seconds=wait)
        following = advance(state, goal, facts, LIMITS, now)
        yield state, following, goal, facts, now
        state = following


def test_the_table_has_a_row_for_every_phase():
    assert set(_STEPS) == set(get_args(RolloutPhase))
    assert set(get_args(RolloutPhase)) >= ACTIVE


@walking
@given(walks)
def test_traffic_is_switched_only_to_a_migrated_revision_whose_every_pod_has_passed(steps):
    for before, after, _, facts, now in walk(steps, State(STABLE, Rollout())):
        if after.rollout.phase == "Switching" and before.rollout.phase != "Switching":
            assert facts.settled
            assert len(facts.pods) == facts.wanted
            assert all(pod.answer is not None and not pod.answer.blocking() for pod in facts.pods)
            assert all(pod.ready_since and now - pod.ready_since >= LIMITS.min_ready for pod in facts.pods)


@walking
@given(walks)
def test_the_stable_revision_changes_only_at_the_end_of_a_switch(steps):
    for before, after, _, facts, _ in walk(steps, State(STABLE, Rollout())):
        if before.stable != after.stable:
            assert facts.old_jobs_gone
            assert facts.traffic_moved
            assert facts.new_jobs_ready
            assert after.rollout.phase == "Idle"
            assert [each.revision for each in after.rollout.retiring][-1] == before.stable.revision


@walking
@given(walks)
def test_every_active_phase_has_a_deadline_but_that_of_a_migration_without_a_database(steps):
    waits = False
    for _, after, _, facts, _ in walk(steps, State(None, Rollout())):
        waits = after.rollout.phase == "Migrating" and (
            facts.migration.waiting or (waits and not facts.migration.timed_from)
        )
        assert (after.rollout.deadline is not None) == (after.rollout.phase in ACTIVE and not waits)


@walking
@given(walks)
def test_nothing_waits_longer_than_its_deadline(steps):
    for before, after, goal, facts, now in walk(steps, State(STABLE, Rollout())):
        superseded_in_vain = facts.migration.running and goal != GOAL
        due = before.rollout.deadline
        if before.rollout.phase == "Migrating":
            migration = facts.migration
            due = (
                None if migration.waiting else migration.timed_from + LIMITS.migration if migration.timed_from else due
            )
        if before.rollout.phase in ACTIVE and due and now >= due and not superseded_in_vain:
            assert after.rollout.phase != before.rollout.phase or after.rollout.started_at != before.rollout.started_at


@walking
@given(walks)
def test_an_abort_always_says_why(steps):
    for _, after, *_ in walk(steps, State(STABLE, Rollout())):
        if after.rollout.phase == "Aborted":
            assert after.rollout.reason
            assert after.rollout.message


@walking
@given(walks)
def test_a_running_migration_is_never_left(steps):
    for before, after, _, facts, now in walk(steps, State(STABLE, Rollout())):
        if before.rollout.phase == "Migrating" and facts.migration.running and now < START + LIMITS.migration:
            assert (after.rollout.phase, after.rollout.revision) == ("Migrating", before.rollout.revision)


@walking
@given(walks)
def test_the_same_facts_at_the_same_time_change_nothing_more(steps):
    for _, after, goal, facts, now in walk(steps, State(STABLE, Rollout())):
        again = advance(after, goal, facts, LIMITS, now)
        # What was given up and is no longer asked for is forgotten one step later.
        forgotten = after.rollout.phase == "Aborted" and again.rollout.phase in {"Idle", "Preparing"} and goal != GOAL
        if after.rollout.phase not in {"Preparing", "Idle"} and not forgotten:
            assert again == after


@walking
@given(walks)
def test_waking_lies_ahead(steps):
    for _, after, _, facts, now in walk(steps, State(STABLE, Rollout())):
        wake = wake_at(after, facts, LIMITS, now)
        assert wake is None or wake > now


@pytest.mark.parametrize("seconds", [0, 9])
def test_a_check_that_fails_for_less_than_two_rounds_aborts_nothing(seconds):
    pods_ = (CandidatePod("a", START, failing("candidate")),)
    started = START + timedelta(minutes=1)
    checking = Rollout(phase="Checking", revision="candidate", generation=2, deadline=started + LIMITS.deadline)
    state = advance(State(STABLE, checking), GOAL, Facts(settled=True, pods=pods_), LIMITS, started)
    state = advance(state, GOAL, Facts(settled=True, pods=pods_), LIMITS, started + timedelta(seconds=seconds))
    assert state.rollout.phase == "Checking"
    passed = (CandidatePod("a", START, passing("candidate")),)
    state = advance(state, GOAL, Facts(settled=True, pods=passed), LIMITS, started + timedelta(seconds=10))
    assert state.rollout.phase == "Switching"


def test_a_retired_revision_is_forgotten_when_its_time_is_over():
    facts = Facts(old_jobs_gone=True, traffic_moved=True, new_jobs_ready=True)
    switching = Rollout(phase="Switching", revision="candidate", generation=2, deadline=START + timedelta(minutes=2))
    state = advance(State(STABLE, switching), GOAL, facts, LIMITS, START)
    assert [each.revision for each in state.rollout.retiring] == ["stable"]
    assert forget_retired(state, START + timedelta(seconds=29)) == state
    assert forget_retired(state, START + timedelta(seconds=30)).rollout.retiring == ()
