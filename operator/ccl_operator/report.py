"""Conditions, phase and events: what is told about one pass. Pure; ``plan`` collects what is told here.

Conditions follow metav1.Condition, and together kstatus: ``Reconciling`` and ``Stalled`` are True while, and only
while, something is on its way or stuck.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

from ccl_contract.readiness import CheckStatus, ReadinessReport
from ccl_operator import names
from ccl_operator.actions import Event
from ccl_operator.api.status import MESSAGE_MAX, Condition, ConditionStatus, Phase, Rollout, Status
from ccl_operator.backup_health import Verdict
from ccl_operator.inventory import Inventory
from ccl_operator.rollout import ACTIVE, State

TYPES: Final = (
    "Ready",
    "Reconciling",
    "Stalled",
    "Progressing",
    "Promoted",
    "SecretsValid",
    "DatabaseReachable",
    "BackupHealthy",
    "Paused",
)


@dataclass(frozen=True)
class Findings:
    """All that the conditions are made of. ``goal``: the wanted revision, None when refused or unknown.

    ``stuck`` is the most important reason why nothing moves (an aborted rollout is read off the state).
    ``database`` and ``backup`` are None when nothing new was learned; ``secrets`` when referenced ones are unread.
    """

    state: State
    goal: str | None
    paused: bool
    serving: Verdict
    secrets: Verdict | None
    stuck: Verdict | None = None
    busy: str = ""
    database: Verdict | None = None
    backup: Verdict | None = None


def serving(found: Inventory, instance: str, state: State) -> Verdict:
    """Condition Ready: the stable revision serves with its pods ready."""
    if state.stable is None:
        return Verdict("False", "NoStableRevision", "no revision has been promoted yet")
    short = [
        text
        for name in (names.web, names.jobs)
        if (text := _shortage(found, name(instance, state.stable.revision))) is not None
    ]
    if short:
        return Verdict("False", "PodsNotReady", "; ".join(short))
    return Verdict("True", "Serving", f"revision {state.stable.revision} serves with its pods ready")


def _shortage(found: Inventory, name: str) -> str | None:
    deployment = found.get(names.DEPLOYMENT, name)
    if deployment is None:
        return f"Deployment {name} is missing"
    wanted = int(deployment["spec"].get("replicas", 1))
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0))
    return f"{name}: {ready} of {wanted} pods ready" if ready < wanted else None


def conditions(findings: Findings, known: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """All conditions, in the order of TYPES; one whose status did not change keeps its transition time."""
    before = {condition.type: condition for condition in known.conditions}
    told = _verdicts(findings, before)
    return tuple(_condition(kind, told[kind], before.get(kind), generation, now) for kind in TYPES)


def first_conditions(generation: int, now: datetime) -> tuple[Condition, ...]:
    """What is told before anything is made."""
    told = {
        "Ready": Verdict("Unknown", "NotObservedYet", "nothing has been made yet"),
        "Reconciling": Verdict("True", "NotObservedYet", "starting"),
    }
    return tuple(_condition(kind, verdict, None, generation, now) for kind, verdict in told.items())


def _verdicts(findings: Findings, before: Mapping[str, Condition]) -> dict[str, Verdict]:
    stalled = _stalled(findings)
    return {
        "Ready": findings.serving,
        "Reconciling": _reconciling(findings, stalled),
        "Stalled": stalled or Verdict("False", "NotStalled", ""),
        "Progressing": _progressing(findings),
        "Promoted": _promoted(findings, stalled, before.get("Promoted")),
        "SecretsValid": findings.secrets or _carried(before.get("SecretsValid"), "NotRead", "not read yet"),
        "DatabaseReachable": findings.database
        or _carried(before.get("DatabaseReachable"), "NoAnswer", "no stable pod has answered yet"),
        "BackupHealthy": findings.backup
        or _carried(before.get("BackupHealthy"), "NoBackupYet", "no backup has been made yet"),
        "Paused": Verdict("True", "Paused", "spec.paused") if findings.paused else Verdict("False", "Acting", ""),
    }


def _stalled(findings: Findings) -> Verdict | None:
    if findings.stuck is not None:
        return findings.stuck
    rollout = findings.state.rollout
    if rollout.phase == "Aborted":
        return Verdict("True", rollout.reason, f"revision {rollout.revision} was aborted: {rollout.message}")
    return None


def _reconciling(findings: Findings, stalled: Verdict | None) -> Verdict:
    rollout = findings.state.rollout
    if stalled is None and rollout.phase in ACTIVE:
        return Verdict("True", rollout.phase, _on_its_way(rollout))
    if stalled is None and findings.busy:
        return Verdict("True", "Waiting", findings.busy)
    return Verdict("False", "Settled", "")


def _progressing(findings: Findings) -> Verdict:
    rollout = findings.state.rollout
    if rollout.phase in ACTIVE:
        return Verdict("True", rollout.phase, _on_its_way(rollout))
    if rollout.phase == "Aborted":
        return Verdict("False", rollout.reason, f"revision {rollout.revision} was aborted")
    return Verdict("False", "Idle", "")


def _on_its_way(rollout: Rollout) -> str:
    return f"revision {rollout.revision} is on its way{f': {rollout.message}' if rollout.message else ''}"


def _promoted(findings: Findings, stalled: Verdict | None, before: Condition | None) -> Verdict:
    stable = findings.state.stable
    if findings.goal is not None and stable is not None and stable.revision == findings.goal:
        return Verdict("True", "Promoted", f"revision {stable.revision} has the traffic")
    if stalled is not None:
        return Verdict("False", stalled.reason, stalled.message)
    if findings.goal is None:
        return _carried(before, "NotKnownYet", "what is asked for is not known yet")
    return Verdict("False", "RolloutInProgress", f"revision {findings.goal} is asked for")


def _carried(before: Condition | None, reason: str, message: str) -> Verdict:
    """As it was told before; Unknown with this reason when it never was."""
    if before is None:
        return Verdict("Unknown", reason, message)
    return Verdict(before.status, before.reason, before.message)


def _condition(kind: str, verdict: Verdict, before: Condition | None, generation: int, now: datetime) -> Condition:
    status = cast(ConditionStatus, verdict.status)
    unchanged = before is not None and before.status == status
    return Condition(
        type=kind,
        status=status,
        reason=verdict.reason,
        message=verdict.message[:MESSAGE_MAX],
        observed_generation=generation,
        last_transition_time=before.last_transition_time if before is not None and unchanged else now,
    )


def phase(findings: Findings, told: Sequence[Condition]) -> Phase:
    """One word for the state; the most pressing one wins."""
    status = {condition.type: condition.status for condition in told}
    if findings.paused:
        return "Paused"
    if status["Stalled"] == "True":
        return "Stalled"
    if findings.state.rollout.phase in ACTIVE:
        return "Progressing"
    if findings.state.stable is None:
        return "Pending"
    return "Ready" if status["Ready"] == "True" else "Degraded"


def message(told: Sequence[Condition]) -> str:
    """The message of the condition that explains the phase best."""
    by_type = {condition.type: condition for condition in told}
    for kind, status in (("Stalled", "True"), ("Reconciling", "True"), ("Ready", "False"), ("Ready", "True")):
        if by_type[kind].status == status:
            return by_type[kind].message
    return ""


#: Changes worth an event: condition, its new status, type of the event.
_EVENTS: Final[tuple[tuple[str, str, Literal["Normal", "Warning"]], ...]] = (
    ("Progressing", "True", "Normal"),
    ("Promoted", "True", "Normal"),
    ("Stalled", "True", "Warning"),
    ("Ready", "True", "Normal"),
    ("Ready", "False", "Warning"),
    ("DatabaseReachable", "False", "Warning"),
    ("BackupHealthy", "True", "Normal"),
    ("BackupHealthy", "False", "Warning"),
    ("Paused", "True", "Normal"),
)


def events(before: Status, after: Status) -> tuple[Event, ...]:
    """One event per change of state, in the order above; a change of wording alone is none."""
    return tuple(_events(before, after))


def _events(before: Status, after: Status) -> Iterator[Event]:
    old = {condition.type: condition for condition in before.conditions}
    new = {condition.type: condition for condition in after.conditions}
    for kind, status, type_ in _EVENTS:
        now_told = new.get(kind)
        if now_told is None or now_told.status != status or not _changed(kind, old.get(kind), now_told):
            continue
        if kind == "Ready" and status == "False" and (kind not in old or old[kind].status != "True"):
            continue  # not ready yet is no news, no longer ready is
        reason = "RolloutStarted" if kind == "Progressing" else now_told.reason
        yield Event(type_, reason, now_told.message)
    rotated = [each.secrets.rotated_at if each.secrets else None for each in (before, after)]
    if None not in rotated and rotated[0] != rotated[1]:
        yield Event("Normal", "KeysRotated", "every pod holds the new keys, and they sign from now on")


def _changed(kind: str, old: Condition | None, new: Condition) -> bool:
    if old is None or old.status != new.status:
        return True
    # Stuck for another reason is another state; a rollout's phases are told by the condition alone.
    return kind in {"Stalled", "BackupHealthy"} and old.reason != new.reason


def database_verdict(answers: Sequence[ReadinessReport]) -> Verdict | None:
    """From the check DatabaseReachable on the stable pods; None when none has answered."""
    checks = [check for answer in answers for check in answer.checks if check.id == "DatabaseReachable"]
    if not checks:
        return None
    bad = [check for check in checks if check.status is CheckStatus.FAIL]
    if bad:
        return Verdict("False", bad[0].reason or "DatabaseUnreachable", bad[0].message)
    return Verdict("True", "DatabaseReachable", "")


def stable_replicas(found: Inventory, instance: str, state: State) -> tuple[int, int]:
    """Pods of the stable revision's web Deployment: all, and the ready ones."""
    if state.stable is None:
        return 0, 0
    deployment = found.get(names.DEPLOYMENT, names.web(instance, state.stable.revision))
    if deployment is None:
        return 0, 0
    counts = deployment.get("status") or {}
    return int(counts.get("replicas", 0)), int(counts.get("readyReplicas", 0))


def stable_selector(instance: str, state: State) -> str | None:
    """Labels of the stable revision's web pods, as the scale subresource tells them; None before the first."""
    if state.stable is None:
        return None
    labels = names.selector(instance, names.WEB, state.stable.revision)
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items()))
