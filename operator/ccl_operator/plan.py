"""The whole decision of one reconcile: what is observed in, what to write out. Pure.

The order is always the same: settle what is wanted (``wanted``), read the facts (``facts``), move the rollout
(``rollout``), say which children follow (``children``), tell it once (``report``). Nothing here knows how it is carried
out; that is ``runtime``'s.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from ccl_contract.readiness import ReadinessReport
from ccl_operator import backup_health, children, facts, inventory, names, pooling, report, rollout
from ccl_operator.actions import Apply, Delete, Plan, ProbeTarget
from ccl_operator.api.status import (
    BackupStatus,
    DatabaseServer,
    Images,
    SchemaEpochs,
    StableRevision,
    Status,
    parse_status,
    render_status,
    whole_second,
)
from ccl_operator.backup_health import BackupHealth, Verdict
from ccl_operator.config import Config
from ccl_operator.environment import PORT
from ccl_operator.inventory import Inventory
from ccl_operator.observe import Observed
from ccl_operator.report import Findings
from ccl_operator.rollout import Facts, Goal, State
from ccl_operator.wanted import Refusal, Wanted, settle

#: How soon to look again at what no event announces: remains of an earlier object, Secrets that were not read.
LOOK_AGAIN: Final = timedelta(seconds=5)


@dataclass(frozen=True)
class _Pass:
    """What every part of one pass reads. ``stuck``: why nothing may move, in the words of the condition."""

    observed: Observed
    found: Inventory
    known: Status
    now: datetime
    stuck: Verdict | None = None

    @property
    def generation(self) -> int:
        return int(self.observed.owner["metadata"].get("generation", 0))

    @property
    def instance(self) -> str:
        return inventory.name_of(self.observed.owner)


@dataclass(frozen=True)
class _Moved:
    """Where the rollout stands after this pass, and what follows from it."""

    state: State
    facts: Facts
    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    wake_at: datetime | None = None
    blocked: Verdict | None = None


def plan(observed: Observed, *, now: datetime, config: Config, entropy: bytes) -> Plan:
    """Decide one pass. ``entropy``: ``secrets.ENTROPY_BYTES`` random bytes, fresh for every call; used only when keys
    are made. The same input gives the same plan, and a plan carried out fully is followed by one that writes nothing.
    """
    known = parse_status(observed.owner)
    this = _Pass(observed, Inventory.of(observed), known, whole_second(now), _forbidden(observed))
    if observed.owner["metadata"].get("deletionTimestamp"):
        return Plan(status=render_status(known.model_copy(update={"phase": "Deleting"})))
    if not known.conditions:
        return _first(this)
    wanted = settle(observed, this.found, known, config=config, entropy=entropy, now=this.now)
    if isinstance(wanted, Refusal):
        return _refused(this, wanted)
    if wanted.drawn and not wanted.spec.paused:
        return _drawing(this, wanted)
    return _told(this, wanted, _move(this, wanted))


def _drawing(this: _Pass, wanted: Wanted) -> Plan:
    """Keep what was drawn, and nothing else. Worth a status only when something is in the way of that."""
    state = State(this.known.stable, this.known.rollout)
    applies = children.drawn(wanted, this.found)
    blocked = _foreign(this, applies)
    told = _told(this, wanted, _Moved(state, _facts(this, wanted, state), applies, blocked=blocked))
    hindered = this.stuck or blocked or this.observed.refused or this.found.remains
    return told if hindered else replace(told, status=None, events=())


def _first(this: _Pass) -> Plan:
    """The very first write comes before anything is made."""
    status = this.known.model_copy(
        update={
            "observed_generation": this.generation,
            "phase": "Pending",
            "message": "starting",
            "conditions": report.first_conditions(this.generation, this.now),
        }
    )
    return Plan(status=render_status(status), requeue_at=this.now)


def _refused(this: _Pass, refusal: Refusal) -> Plan:
    """Without a readable specification nothing can be kept up, and before the first revision there is nothing; what
    runs is left as it is, and told."""
    state = State(this.known.stable, this.known.rollout)
    findings = Findings(
        state=state,
        goal=None,
        paused=False,
        serving=report.serving(this.found, this.instance, state),
        secrets=None,
        stuck=this.stuck or Verdict("True", refusal.reason, refusal.message),
    )
    status = _status(this, findings, images=this.known.images, backup=this.known.backup)
    return Plan(status=render_status(status), events=report.events(this.known, status), probes=_probes(this, state))


def _move(this: _Pass, wanted: Wanted) -> _Moved:
    """Move the rollout as far as the facts allow, unless something keeps everything where it is."""
    state = State(this.known.stable, this.known.rollout)
    seen = _facts(this, wanted, state)
    if wanted.spec.paused or wanted.unread:
        return _Moved(state, seen)
    blocked = _foreign(this, children.applies(wanted, this.found, state, seen))
    if blocked is None and this.stuck is None:
        state, seen = _advance(this, wanted, rollout.forget_retired(state, this.now), seen)
    applies = children.applies(wanted, this.found, state, seen)
    return _Moved(
        state=state,
        facts=seen,
        applies=applies,
        deletes=children.deletes(wanted, this.found, state),
        wake_at=rollout.wake_at(state, seen, facts.limits(wanted.spec), this.now),
        blocked=blocked or _foreign(this, applies),
    )


def _advance(this: _Pass, wanted: Wanted, state: State, seen: Facts) -> tuple[State, Facts]:
    """A rollout that has just started gets facts of its own and another look in the same pass."""
    goal = Goal(wanted.goal.name, wanted.goal.image, this.generation) if wanted.goal else None
    limits = facts.limits(wanted.spec)
    following = rollout.advance(state, goal, seen, limits, this.now)
    if following.candidate is not None and following.rollout.started_at != state.rollout.started_at:
        seen = _facts(this, wanted, following)
        following = rollout.advance(following, goal, seen, limits, this.now)
    return following, seen


def _facts(this: _Pass, wanted: Wanted, state: State) -> Facts:
    seen = facts.gather(
        this.found, this.instance, wanted.spec, state.rollout, probes=this.observed.probes, now=this.now
    )
    report = seen.migration.report
    if report is not None and wanted.demand is not None:
        short = pooling.shortfall(wanted.demand, max_connections=report.database.max_connections)
        seen = replace(seen, shortfall=short)
    return replace(seen, waiting_for=(*seen.waiting_for, *_crowding(this, wanted, state)))


def _crowding(this: _Pass, wanted: Wanted, state: State) -> tuple[str, ...]:
    """Pods on their way out, as long as their connections leave too few for a promotion."""
    if this.known.database is None or wanted.demand is None:
        return ()
    staying = [each.revision for each in (state.stable, state.candidate) if each is not None]
    held = {
        revision: pods * (wanted.own_pool(revision) + pooling.PROBE)
        for revision, pods in facts.lingering(this.found, staying, this.now).items()
        if not wanted.is_pooled(revision)
    }
    if wanted.demand.total + sum(held.values()) <= this.known.database.max_connections:
        return ()
    return tuple(f"the connections of the pods of revision {revision}" for revision in sorted(held))


def _told(this: _Pass, wanted: Wanted, moved: _Moved) -> Plan:
    answers = _stable_answers(this, moved.state)
    silent_from = _stable_silent_from(this, moved.state)
    health = _backup(this, wanted)
    findings = Findings(
        state=moved.state,
        goal=wanted.goal.name if wanted.goal else None,
        paused=wanted.spec.paused,
        serving=report.serving(this.found, this.instance, moved.state),
        secrets=_secrets_verdict(wanted),
        stuck=this.stuck or _refusal_verdict(wanted) or moved.blocked or _apply_refused(this.observed),
        busy=_busy(this, wanted),
        rotation=wanted.rotation.overdue,
        database=report.database_verdict(answers, silent=silent_from is not None and silent_from <= this.now),
        backup=health.verdict,
    )
    backup = health.status if wanted.spec.backup is not None or this.known.backup is not None else None
    status = _status(this, findings, images=wanted.images, backup=backup, facts_=moved.facts, answers=answers)
    status = status.model_copy(update={"secrets": wanted.rotation.status})
    waits = [wanted.rotation.wake_at, moved.wake_at, health.wake_at, this.now + LOOK_AGAIN if findings.busy else None]
    waits += [silent_from] if silent_from is not None and silent_from > this.now and not answers else []
    return Plan(
        applies=moved.applies,
        deletes=moved.deletes,
        events=report.events(this.known, status),
        status=render_status(status),
        probes=_probes(this, moved.state, every=wanted.rotation.under_way),
        requeue_at=min((each for each in waits if each is not None), default=None),
    )


def _status(
    this: _Pass,
    findings: Findings,
    *,
    images: Images,
    backup: BackupStatus | None,
    facts_: Facts | None = None,
    answers: tuple[ReadinessReport, ...] = (),
) -> Status:
    told = report.conditions(findings, this.known, this.generation, this.now)
    replicas, ready = report.stable_replicas(this.found, this.instance, findings.state)
    return Status(
        observed_generation=this.generation,
        phase=report.phase(findings, told),
        message=report.message(told),
        conditions=told,
        endpoint=f"http://{names.stable_service(this.instance)}.{this.observed.owner['metadata']['namespace']}.svc",
        replicas=replicas,
        ready_replicas=ready,
        selector=report.stable_selector(this.instance, findings.state),
        stable=findings.state.stable,
        candidate=findings.state.candidate,
        rollout=findings.state.rollout,
        schema=_schema(facts_, answers) or this.known.schema_,
        database=_database(facts_, answers, findings.state.stable) or this.known.database,
        secrets=this.known.secrets,
        backup=backup,
        images=images,
    )


def _forbidden(observed: Observed) -> Verdict | None:
    if not observed.forbidden:
        return None
    lacking = sorted(f"{resource.plural}: {what}" for resource, what in observed.forbidden.items())
    return Verdict("True", "Forbidden", f"grant the operator's role what it lacks: {'; '.join(lacking)}")


def _apply_refused(observed: Observed) -> Verdict | None:
    """Told, and no reason to hold the rollout: a newer specification may be the way out."""
    if not observed.refused:
        return None
    told = sorted(f"{resource.kind} {name}: {why}" for (resource, name), why in observed.refused.items())
    return Verdict("True", "ApplyRefused", f"mend what the API server refuses: {'; '.join(told)}")


def _foreign(this: _Pass, applies: tuple[Apply, ...]) -> Verdict | None:
    """Objects in the way that are not ours; they are not touched."""
    wanted = {(each.resource, inventory.name_of(each.manifest)) for each in applies}
    taken = sorted(f"{resource.kind} {name}" for resource, name in this.observed.foreign & wanted)
    if not taken:
        return None
    message = f"delete or rename what is in the way and was not made by this CclDeployment: {', '.join(taken)}"
    return Verdict("True", "InvalidOwnership", message)


def _secrets_verdict(wanted: Wanted) -> Verdict | None:
    if wanted.problems:
        return Verdict("False", "SecretsInvalid", "; ".join(wanted.problems))
    return None if wanted.unread else Verdict("True", "SecretsValid", "")


def _refusal_verdict(wanted: Wanted) -> Verdict | None:
    return Verdict("True", wanted.refusal.reason, wanted.refusal.message) if wanted.refusal else None


def _busy(this: _Pass, wanted: Wanted) -> str:
    if wanted.unread:
        return f"Secrets are being read: {', '.join(wanted.unread)}"
    if wanted.drawn:
        return f"Secrets are being made: {', '.join(wanted.drawn)}"
    if this.found.remains:
        left = sorted(f"{resource.kind} {name}" for resource, name in this.found.remains)
        return f"objects of an earlier CclDeployment are being collected: {', '.join(left)}"
    return ""


def _backup(this: _Pass, wanted: Wanted) -> BackupHealth:
    known = this.known.backup or BackupStatus()
    told = next((each for each in this.known.conditions if each.type == "BackupHealthy"), None)
    health = backup_health.assess(this.found, known, this.instance, this.now)
    health = backup_health.with_schedule(health, this.found, this.instance, wanted.spec.backup, told=told, now=this.now)
    if wanted.spec.backup is not None and this.known.database is not None and wanted.images.backup is None:
        major = this.known.database.version_num // 10_000
        lacking = Verdict("False", "NoBackupImage", f"the operator has no backup image for PostgreSQL {major}")
        return BackupHealth(health.status, lacking, health.wake_at)
    return health


def _stable_answers(this: _Pass, state: State) -> tuple[ReadinessReport, ...]:
    if state.stable is None:
        return ()
    revision = state.stable.revision
    answers = [
        facts.fresh_answer(this.observed.probes.get(pod["metadata"]["uid"]), revision, this.now)
        for pod in facts.living_web_pods(this.found, revision)
    ]
    return tuple(answer for answer in answers if answer is not None)


def _stable_silent_from(this: _Pass, state: State) -> datetime | None:
    if state.stable is None:
        return None
    return facts.silent_from(this.found, state.stable.revision, this.observed.probes, this.now)


def _schema(facts_: Facts | None, answers: tuple[ReadinessReport, ...]) -> SchemaEpochs | None:
    """The latest word on the schema: a migration's own, else the stable pods'."""
    if facts_ is not None and facts_.migration.report is not None:
        told = facts_.migration.report
        return SchemaEpochs(epoch=told.epoch, min_compatible=told.min_compatible)
    states = [answer.schema_ for answer in answers if answer.schema_ is not None]
    return SchemaEpochs(epoch=states[0].epoch, min_compatible=states[0].min_compatible) if states else None


def _database(
    facts_: Facts | None, answers: tuple[ReadinessReport, ...], stable: StableRevision | None
) -> DatabaseServer | None:
    """The server as the stable pods know it: a candidate's may be another. Before the first, as it was migrated."""
    told = [answer.database for answer in answers if answer.database is not None]
    if stable is None and facts_ is not None and facts_.migration.report is not None:
        told = [facts_.migration.report.database]
    if not told:
        return None
    return DatabaseServer(version_num=told[0].version_num, max_connections=told[0].max_connections)


def _probes(this: _Pass, state: State, *, every: bool = False) -> tuple[ProbeTarget, ...]:
    """Every running web pod of the stable revision and of the candidate; with ``every`` each pod of the service, jobs
    and what is on its retreat too."""
    revisions = dict.fromkeys(each.revision for each in (state.stable, state.candidate) if each is not None)
    pods = [pod for revision in revisions for pod in facts.living_web_pods(this.found, revision)]
    return tuple(
        ProbeTarget(pod_uid=pod["metadata"]["uid"], pod_ip=pod["status"]["podIP"], port=PORT)
        for pod in (facts.service_pods(this.found) if every else pods)
        if facts.running(pod)
    )
