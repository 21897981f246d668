"""The promotion of a revision as a table of steps. Pure: state in, state out; the whole state is in the status.

    Idle → Preparing → Migrating → Starting → Checking → Switching → Idle        any → Aborted

``facts`` says what a step may look at; what the phases make the cluster do is ``children``' business. A newer goal
supersedes anywhere, except that a running migration is waited for. An aborted revision is tried again only when the
specification has changed: any field may be what it took, a deadline for instance.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from ccl_contract.readiness import Check, ReadinessReport
from ccl_contract.schema import MigrationReport
from ccl_operator.api.status import MESSAGE_MAX, Candidate, Retiring, Rollout, RolloutPhase, StableRevision

PREPARING: Final = timedelta(minutes=2)
SWITCHING: Final = timedelta(minutes=2)
#: A failing check aborts when it was seen for two rounds of asking: one bad moment of a dependency is no verdict.
FAILING: Final = timedelta(seconds=10)
#: The losing revision's pods go this long after the traffic has moved; open connections end until then.
RETIRING: Final = timedelta(seconds=30)
#: An answer older than this says nothing: four rounds of asking.
FRESH: Final = timedelta(seconds=20)

ACTIVE: Final[frozenset[RolloutPhase]] = frozenset({"Preparing", "Migrating", "Starting", "Checking", "Switching"})
PREPARING_EXCEEDED: Final = "PreparingDeadlineExceeded"


@dataclass(frozen=True)
class Goal:
    """The revision that the specification asks for, in its present ``generation``."""

    revision: str
    image: str
    generation: int


@dataclass(frozen=True)
class Limits:
    """The specification's words on a promotion."""

    migration: timedelta
    deadline: timedelta
    min_ready: timedelta
    treat_as_fail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Migration:
    """The migration Job. ``report`` only when it succeeded and has said so; ``failure`` when it gave up.

    ``running``: it may be changing the database. ``waiting``: its process runs, and the database has not answered yet.
    ``timed_from``: since when ``migration.timeout`` counts, of a running Job or one that does not start; None while
    nothing is to be timed.
    """

    running: bool = False
    waiting: bool = False
    timed_from: datetime | None = None
    report: MigrationReport | None = None
    failure: str = ""


@dataclass(frozen=True)
class CandidatePod:
    """A web pod of the candidate that is not going away. ``answer``: its gate answer, None when there is no fresh one.

    ``ready_since`` is None while it is not ready; ``trouble`` then says what its container waits for.
    """

    name: str
    ready_since: datetime | None
    answer: ReadinessReport | None = None
    trouble: str = ""


@dataclass(frozen=True)
class Facts:
    """What a step may look at. ``waiting_for``: dependencies that are not ready, empty when all are. ``shortfall``: why
    the server that was migrated has too few connections.

    ``settled``: the web Deployment runs exactly its ``wanted`` pods. ``old_jobs_gone``: no other revision's jobs pod is
    left. ``traffic_moved``: the Service's EndpointSlices hold the candidate's pods and no others.
    """

    waiting_for: tuple[str, ...] = ()
    migration: Migration = Migration()
    shortfall: str = ""
    wanted: int = 1
    settled: bool = False
    pods: tuple[CandidatePod, ...] = ()
    old_jobs_gone: bool = False
    traffic_moved: bool = False
    new_jobs_ready: bool = False

    @property
    def all_there(self) -> bool:
        """Whether exactly the wanted pods exist, by the Deployment's word and by our own count."""
        return self.settled and len(self.pods) == self.wanted


@dataclass(frozen=True)
class State:
    """Where promotion stands: the revision with the traffic, and the rollout."""

    stable: StableRevision | None
    rollout: Rollout

    @property
    def candidate(self) -> Candidate | None:
        """The revision that is on its way; None while there is none."""
        if self.rollout.phase not in ACTIVE:
            return None
        return Candidate(revision=self.rollout.revision, image=self.rollout.image)

    @property
    def in_use(self) -> tuple[str, ...]:
        """Names of the revisions whose pods run or may come, each once: stable, candidate, those that retire."""
        parts = (self.stable, self.candidate, *self.rollout.retiring)
        return tuple(dict.fromkeys(part.revision for part in parts if part is not None))


def advance(state: State, goal: Goal | None, facts: Facts, limits: Limits, now: datetime) -> State:
    """As many steps as the facts allow. ``goal`` None: what is asked for is refused. ``facts`` are of the rollout's
    revision; a new revision starts with a pass of its own, because its facts are not known yet."""
    directed = _direct(state, goal, facts, now)
    if directed is not state:
        return directed
    while True:
        following = _STEPS[state.rollout.phase](state, facts, limits, now)
        if following.rollout.phase == state.rollout.phase:
            return following
        state = following


def forget_retired(state: State, now: datetime) -> State:
    """Drop the retired revisions whose time is over."""
    left = tuple(each for each in state.rollout.retiring if each.at > now)
    return _with(state, retiring=left) if left != state.rollout.retiring else state


def wake_at(state: State, facts: Facts, limits: Limits, now: datetime) -> datetime | None:
    """When time alone may change something; what lies behind was looked at in this pass."""
    times = [each.at for each in state.rollout.retiring]
    if state.rollout.phase in ACTIVE and state.rollout.deadline is not None:
        times.append(state.rollout.deadline)
    if state.rollout.phase == "Checking":
        times += [pod.ready_since + limits.min_ready for pod in facts.pods if pod.ready_since is not None]
    if state.rollout.failing_since is not None:
        times.append(state.rollout.failing_since + FAILING)
    return min((each for each in times if each > now), default=None)


def _direct(state: State, goal: Goal | None, facts: Facts, now: datetime) -> State:
    """Start, supersede or end a rollout, as the goal asks; the same state when it is on its way already."""
    rollout = state.rollout
    if goal is not None and rollout.phase != "Idle" and rollout.revision == goal.revision:
        again = rollout.phase == "Aborted" and rollout.generation != goal.generation
        return _start(state, goal, now) if again else state
    if rollout.phase == "Migrating" and facts.migration.running:
        return state
    if goal is None or (state.stable is not None and state.stable.revision == goal.revision):
        return state if rollout.phase == "Idle" else _idle(state)
    return _start(state, goal, now)


def _start(state: State, goal: Goal, now: datetime) -> State:
    started = Rollout(
        phase="Preparing",
        revision=goal.revision,
        image=goal.image,
        generation=goal.generation,
        started_at=now,
        deadline=now + PREPARING,
        retiring=tuple(each for each in state.rollout.retiring if each.revision != goal.revision),
    )
    return State(state.stable, started)


def _idle(state: State, *also: Retiring) -> State:
    return State(state.stable, Rollout(retiring=(*state.rollout.retiring, *also)[-10:]))


def _with(state: State, **changes: object) -> State:
    return State(state.stable, state.rollout.model_copy(update=changes))


def _enter(state: State, phase: RolloutPhase, deadline: datetime | None) -> State:
    return _with(state, phase=phase, deadline=deadline, failing_since=None, message="")


def _abort(state: State, reason: str, message: str) -> State:
    return _with(
        state, phase="Aborted", deadline=None, failing_since=None, reason=reason, message=message[:MESSAGE_MAX]
    )


def _late(state: State, now: datetime) -> bool:
    return state.rollout.deadline is not None and now >= state.rollout.deadline


def _stay(state: State, facts: Facts, limits: Limits, now: datetime) -> State:  # noqa: ARG001 - a row of the table
    return state


def _preparing(state: State, facts: Facts, limits: Limits, now: datetime) -> State:
    if not facts.waiting_for:
        return _enter(state, "Migrating", now + limits.migration)
    if _late(state, now):
        return _abort(state, PREPARING_EXCEEDED, f"not ready in time: {', '.join(facts.waiting_for)}")
    return state


def _migrating(state: State, facts: Facts, limits: Limits, now: datetime) -> State:
    migration = facts.migration
    if migration.failure:
        return _abort(state, "MigrationFailed", migration.failure)
    if migration.report is not None:
        unfit = _unfit(migration.report, facts.shortfall)
        return _abort(state, *unfit) if unfit else _enter(state, "Starting", now + limits.deadline)
    state = _timed(state, migration, limits)
    if _late(state, now):
        return _abort(state, "MigrationDeadlineExceeded", "the migration did not report its end in time")
    return state


def _timed(state: State, migration: Migration, limits: Limits) -> State:
    """A database that is not there yet costs no time: whoever provides it may be slower than any migration."""
    if migration.waiting:
        return _with(state, deadline=None, message="the database has not answered yet")
    if migration.timed_from is not None:
        return _with(state, deadline=migration.timed_from + limits.migration, message="")
    return state


def _unfit(report: MigrationReport, shortfall: str) -> tuple[str, str] | None:
    """Why the version cannot run on the database that it has migrated: reason and message."""
    epochs = f"built for epoch {report.own}, the database is at {report.epoch}, compatible from {report.min_compatible}"
    if report.ahead:
        return "SchemaAhead", f"the database has left this version behind: {epochs}"
    if not report.compatible:
        return "SchemaBehind", f"the database lacks migrations of this version: {epochs}"
    return ("InvalidSpec", shortfall) if shortfall else None


def _starting(state: State, facts: Facts, limits: Limits, now: datetime) -> State:
    if facts.all_there and all(pod.ready_since is not None for pod in facts.pods):
        return _enter(state, "Checking", state.rollout.deadline)
    if not _late(state, now):
        return state
    failing = _failing(facts, limits)
    if failing:
        return _abort(state, failing[0].id, _told(failing))
    troubles = [f"{pod.name}: {pod.trouble or 'not ready'}" for pod in facts.pods if pod.ready_since is None]
    return _abort(state, "StartingDeadlineExceeded", "; ".join(troubles) or f"fewer than {facts.wanted} pods were made")


def _checking(state: State, facts: Facts, limits: Limits, now: datetime) -> State:
    failing = _failing(facts, limits)
    since = state.rollout.failing_since or now
    if failing and (now - since >= FAILING or _late(state, now)):
        return _abort(state, failing[0].id, _told(failing))
    if _late(state, now):
        return _abort(
            state, "CheckingDeadlineExceeded", f"no full set of answers; {_unanswered(facts) or 'pods not ready'}"
        )
    if failing:
        return _with(state, failing_since=since)
    state = _with(state, failing_since=None) if state.rollout.failing_since else state
    proven = facts.all_there and all(
        pod.answer is not None and pod.ready_since is not None and now - pod.ready_since >= limits.min_ready
        for pod in facts.pods
    )
    return _enter(state, "Switching", now + SWITCHING) if proven else state


def _switching(state: State, facts: Facts, limits: Limits, now: datetime) -> State:  # noqa: ARG001 - a row of the table
    if facts.old_jobs_gone and facts.traffic_moved and facts.new_jobs_ready:
        lost = [Retiring(revision=state.stable.revision, at=now + RETIRING)] if state.stable else []
        taken = StableRevision(revision=state.rollout.revision, image=state.rollout.image, since=now)
        return State(taken, _idle(state, *lost).rollout)
    if _late(state, now):
        missing = {
            "the old jobs pods are still there": not facts.old_jobs_gone,
            "the Service's endpoints have not moved": not facts.traffic_moved,
            "the new jobs pods are not ready": not facts.new_jobs_ready,
        }
        return _abort(state, "SwitchingDeadlineExceeded", "; ".join(text for text, open_ in missing.items() if open_))
    return state


def _aborted(state: State, facts: Facts, limits: Limits, now: datetime) -> State:  # noqa: ARG001 - a row of the table
    """Only a wait that was given up is taken up again: when what it waited for has come, nothing has been tried yet."""
    if state.rollout.reason == PREPARING_EXCEEDED and not facts.waiting_for:
        rollout = state.rollout
        return _start(state, Goal(rollout.revision, rollout.image, rollout.generation or 0), now)
    return state


Step = Callable[[State, Facts, Limits, datetime], State]
_STEPS: Final[Mapping[RolloutPhase, Step]] = MappingProxyType(
    {
        "Idle": _stay,
        "Preparing": _preparing,
        "Migrating": _migrating,
        "Starting": _starting,
        "Checking": _checking,
        "Switching": _switching,
        "Aborted": _aborted,
    }
)


def _failing(facts: Facts, limits: Limits) -> tuple[Check, ...]:
    """Blocking checks over all pods, in pod and list order, each id once."""
    found: dict[str, Check] = {}
    for pod in facts.pods:
        if pod.answer is not None:
            for check in pod.answer.blocking(limits.treat_as_fail):
                found.setdefault(check.id, check)
    return tuple(found.values())


def _told(checks: tuple[Check, ...]) -> str:
    return "; ".join(": ".join(part for part in (check.id, check.message, check.action) if part) for check in checks)


def _unanswered(facts: Facts) -> str:
    return ", ".join(f"{pod.name} gave no answer" for pod in facts.pods if pod.answer is None)
