"""Conditions, phase and events: what is told about one pass. Pure; ``plan`` collects what is told here.

Conditions follow metav1.Condition, and together kstatus: ``Reconciling`` and ``Stalled`` are True while, and only
while, something is on its way or stuck.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, cast

from ccl_contract.readiness import CheckStatus, ReadinessReport
from ccl_operator import facts, inventory, names
from ccl_operator.actions import Event, Manifest
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
API_ERROR: Final = "ApiError"
ROTATION_WAITING: Final = "RotationWaiting"
#: As metav1.Condition wants it, and we write it.
_REASON: Final = r"[A-Z][A-Za-z0-9]{0,62}"
#: Told in the same words every time: what an exception says may quote a value.
_INTERNAL_ERROR: Final = Verdict(
    "True",
    "InternalError",
    "an error of the operator itself ends every look at this object; what runs stays as it is, and it is tried again. "
    "The operator's log says where it happened (action reconcile.bug)",
)


@dataclass(frozen=True)
class Findings:
    """All that the conditions are made of. ``goal``: the wanted revision, None when refused or unknown.

    ``stuck`` is the most important reason why nothing moves (an aborted rollout is read off the state).
    ``database`` and ``backup`` are None when nothing new was learned; ``secrets`` when referenced ones are unread.
    ``rotation``: what a rotation of the keys has been waiting for, once that takes too long.
    """

    state: State
    goal: str | None
    paused: bool
    serving: Verdict
    secrets: Verdict | None
    stuck: Verdict | None = None
    busy: str = ""
    rotation: str = ""
    database: Verdict | None = None
    backup: Verdict | None = None


def serving(found: Inventory, instance: str, state: State) -> Verdict:
    """Condition Ready: the stable revision serves with its pods ready."""
    if state.stable is None:
        return Verdict("False", "NoStableRevision", "no revision has been promoted yet")
    revision = state.stable.revision
    short = [
        text
        for component, name in ((names.WEB, names.web), (names.JOBS, names.jobs))
        if (text := _shortage(found, name(instance, revision), found.pods(component, revision))) is not None
    ]
    if short:
        return Verdict("False", "PodsNotReady", "; ".join(short))
    return Verdict("True", "Serving", f"revision {revision} serves with its pods ready")


def _shortage(found: Inventory, name: str, pods: Sequence[Manifest]) -> str | None:
    deployment = found.get(names.DEPLOYMENT, name)
    if deployment is None:
        return f"Deployment {name} is missing"
    wanted = int(deployment["spec"].get("replicas", 1))
    ready = int((deployment.get("status") or {}).get("readyReplicas", 0))
    if ready >= wanted:
        return None
    staying = [pod for pod in pods if not inventory.terminating(pod)]
    troubles = dict.fromkeys(trouble for pod in staying if (trouble := facts.trouble(pod)))
    why = f" ({', '.join(troubles)})" if troubles else ""
    return f"{name}: {ready} of {wanted} pods ready{why}"


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


def interrupted(known: Status, generation: int, now: datetime, *, why: str) -> Status:
    """The status so far, but for this: passes keep ending early because of the API server, the last one for ``why``.

    What was stuck is Unknown then: nobody has been able to look since.
    """
    told = {"Reconciling": Verdict("True", API_ERROR, f"trying again: {why}")}
    stalled = next((each for each in known.conditions if each.type == "Stalled"), None)
    if stalled is not None and stalled.status == "True":
        told["Stalled"] = Verdict("Unknown", API_ERROR, f"not looked at again since: {stalled.message}")
    changes = {
        "conditions": _but_for(told, known, generation, now),
        "message": told["Reconciling"].message[:MESSAGE_MAX],
        "phase": known.phase or "Pending",
    }
    return known.model_copy(update=changes)


def failed(known: Status, generation: int, now: datetime) -> Status | None:
    """The status so far, but for this: a pass has ended in an error of our own. None when this generation's status
    says so already."""
    stalled = next((each for each in known.conditions if each.type == "Stalled"), None)
    if stalled is not None and (stalled.reason, stalled.observed_generation) == (_INTERNAL_ERROR.reason, generation):
        return None
    told = {"Reconciling": Verdict("False", _INTERNAL_ERROR.reason, ""), "Stalled": _INTERNAL_ERROR}
    changes = {
        "conditions": _but_for(told, known, generation, now),
        "message": _INTERNAL_ERROR.message,
        "phase": "Stalled",
        "observed_generation": generation,
    }
    return known.model_copy(update=changes)


def _but_for(told: Mapping[str, Verdict], known: Status, generation: int, now: datetime) -> tuple[Condition, ...]:
    """The conditions so far, but for those that are ``told``."""
    before = {condition.type: condition for condition in known.conditions}
    return tuple(
        _condition(kind, told[kind], before.get(kind), generation, now) if kind in told else before[kind]
        for kind in TYPES
        if kind in told or kind in before
    )


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
    if stalled is not None:
        return Verdict("False", "Settled", "")
    if rollout.phase in ACTIVE:
        return Verdict("True", rollout.phase, _on_its_way(rollout))
    if findings.busy:
        return Verdict("True", "Waiting", findings.busy)
    if findings.paused and findings.goal not in {None, _stable(findings)}:
        return Verdict("True", "Paused", f"revision {findings.goal} is asked for and waits: spec.paused is set")
    if findings.rotation:
        return Verdict("True", ROTATION_WAITING, findings.rotation)
    return Verdict("False", "Settled", "")


def _stable(findings: Findings) -> str | None:
    return findings.state.stable.revision if findings.state.stable is not None else None


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
    if findings.goal is not None and findings.goal == _stable(findings):
        return Verdict("True", "Promoted", f"revision {findings.goal} has the traffic")
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


@dataclass(frozen=True)
class _News:
    """A change worth an event: a condition's new ``status``.

    ``before``: the statuses it must come from, empty: any other one, none included. ``only``: the reasons that are
    told, empty: all. ``by_reason``: another reason of the same status is news as well. ``reason`` and ``message``: told
    in place of the condition's.
    """

    kind: str
    status: ConditionStatus
    type: Literal["Normal", "Warning"] = "Normal"
    before: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    by_reason: bool = False
    reason: str = ""
    message: str = ""

    def tells(self, old: Condition | None, new: Condition) -> bool:
        """Whether this change is one of these."""
        if new.status != self.status or (self.only and new.reason not in self.only):
            return False
        if old is None or old.status != new.status:
            return not self.before or (old is not None and old.status in self.before)
        return self.by_reason and old.reason != new.reason


_WAS_TRUE: Final = frozenset({"True"})
_WAS_FALSE: Final = frozenset({"False"})
#: Not ready yet is no news, no longer ready is; an end is told where the beginning was. Stuck for another reason is
#: another state; a rollout's phases are told by the condition alone.
_NEWS: Final = (
    _News("Progressing", "True", reason="RolloutStarted"),
    _News("Promoted", "True"),
    _News("Stalled", "True", "Warning", by_reason=True),
    _News("Stalled", "False", before=_WAS_TRUE, reason="NoLongerStalled", message="what was in the way is gone"),
    _News("Reconciling", "True", "Warning", only=frozenset({API_ERROR, ROTATION_WAITING}), by_reason=True),
    _News("Ready", "True"),
    _News("Ready", "False", "Warning", before=_WAS_TRUE),
    _News("SecretsValid", "True", before=_WAS_FALSE, message="every Secret is good again"),
    _News("DatabaseReachable", "False", "Warning"),
    _News("DatabaseReachable", "True", before=_WAS_FALSE, message="the pods reach their database again"),
    _News("BackupHealthy", "True", by_reason=True),
    _News("BackupHealthy", "False", "Warning", by_reason=True),
    _News("Paused", "True"),
    _News("Paused", "False", before=_WAS_TRUE, reason="Resumed", message="spec.paused is not set any more"),
)


def events(before: Status, after: Status) -> tuple[Event, ...]:
    """One event per change of state, in the order above; a change of wording alone is none."""
    return tuple(_events(before, after))


def _events(before: Status, after: Status) -> Iterator[Event]:
    old = {condition.type: condition for condition in before.conditions}
    new = {condition.type: condition for condition in after.conditions}
    for news in _NEWS:
        told = new.get(news.kind)
        if told is not None and news.tells(old.get(news.kind), told):
            yield Event(news.type, news.reason or told.reason, news.message or told.message)
    rotated = [each.secrets.rotated_at if each.secrets else None for each in (before, after)]
    if None not in rotated and rotated[0] != rotated[1]:
        yield Event("Normal", "KeysRotated", "every pod holds the new keys, and they sign from now on")


def database_verdict(answers: Sequence[ReadinessReport], *, silent: bool) -> Verdict | None:
    """From the check DatabaseReachable on the stable pods, by what they last said. ``silent``: they have all stopped to
    say anything; None when they have just not been heard yet."""
    checks = [check for answer in answers for check in answer.checks if check.id == "DatabaseReachable"]
    bad = next((check for check in checks if check.status is CheckStatus.FAIL), None)
    if bad is not None:
        reason = bad.reason if re.fullmatch(_REASON, bad.reason) else "DatabaseUnreachable"
        return Verdict("False", reason, ": ".join(part for part in (bad.message, bad.action) if part))
    if checks:
        return Verdict("True", "DatabaseReachable", "")
    return Verdict("Unknown", "NoAnswer", "no stable pod answers the question for its readiness") if silent else None


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
