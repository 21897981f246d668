"""What GitOps tools and ``kubectl wait`` make of the conditions, situation by situation.

``verdict`` is kstatus' own reading of a custom resource, written anew from its description (github.com/kubernetes-sigs/
cli-utils, pkg/kstatus/status: "generic" rules, then the condition Ready).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ccl_operator import names, report
from ccl_operator.api.status import Rollout, StableRevision, Status, render_status
from ccl_operator.backup_health import Verdict
from ccl_operator.report import Findings
from ccl_operator.rollout import ACTIVE, State
from tests.unit.operator.samples import SPEC, START
from tests.unit.operator.simulated_cluster import SimulatedCluster

STABLE = StableRevision(revision="0123456789", image="ccl-service:1", since=START)
SERVING = Verdict("True", "Serving", "revision 0123456789 serves with its pods ready")
SHORT = Verdict("False", "PodsNotReady", "ccl-web-0123456789: 1 of 2 pods ready")
NOTHING = Verdict("False", "NoStableRevision", "no revision has been promoted yet")
VALID = Verdict("True", "SecretsValid", "")


def verdict(manifest: dict[str, Any]) -> str:
    metadata, status = manifest["metadata"], manifest.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions") or []
    for condition in conditions:
        if condition["status"] == "True" and condition["type"] in {"Reconciling", "Stalled"}:
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    ready = [condition["status"] for condition in conditions if condition["type"] == "Ready"]
    return "Current" if ready in ([], ["True"]) else "InProgress"


@dataclass(frozen=True)
class Situation:
    name: str
    expected: str
    findings: Findings
    observed: int = 3
    metadata: dict[str, Any] = field(default_factory=dict)


def idle(**changes: Any) -> Findings:
    """A promoted revision that serves, and nothing else."""
    usual = Findings(State(STABLE, Rollout()), STABLE.revision, paused=False, serving=SERVING, secrets=VALID)
    return replace(usual, **changes)


def first(**changes: Any) -> Findings:
    """No revision has been promoted yet."""
    return idle(state=State(None, Rollout()), goal=None, serving=NOTHING, **changes)


def rolling(phase: str, *, stable: bool = True, reason: str = "", **changes: Any) -> Findings:
    """A candidate in some phase, beside the stable revision or as the first one."""
    rollout = Rollout.model_validate({"phase": phase, "revision": "abcdef0123", "image": "ccl-service:2"})
    rollout = rollout.model_copy(update={"reason": reason, "message": "why"} if reason else {})
    found = State(STABLE if stable else None, rollout)
    return replace(idle(state=found, goal="abcdef0123", serving=SERVING if stable else NOTHING), **changes)


def stuck(reason: str) -> Verdict:
    return Verdict("True", reason, f"{reason}: what to do")


REFUSED = Verdict("False", "SecretsInvalid", "JWT_SECRET: is shorter than 32 bytes")
SITUATIONS = [
    Situation("promoted and serving", "Current", idle()),
    Situation("one pod of two is away", "InProgress", idle(serving=SHORT)),
    Situation("nothing promoted, nothing under way", "InProgress", first()),
    *(Situation(f"first revision, {phase}", "InProgress", rolling(phase, stable=False)) for phase in sorted(ACTIVE)),
    *(Situation(f"new revision, {phase}", "InProgress", rolling(phase)) for phase in sorted(ACTIVE)),
    *(
        Situation(f"aborted: {reason}", "Failed", rolling("Aborted", reason=reason))
        for reason in ("MailSender", "MigrationFailed", "SchemaAhead", "StartingDeadlineExceeded")
    ),
    Situation("aborted before anything was promoted", "Failed", rolling("Aborted", stable=False, reason="MailSender")),
    Situation("aborted, and a pod is away", "Failed", rolling("Aborted", reason="MailSender", serving=SHORT)),
    *(
        Situation(f"stuck while serving: {reason}", "Failed", idle(stuck=stuck(reason), goal=None))
        for reason in ("InvalidSpec", "InvalidOwnership", "Forbidden", "ApplyRefused")
    ),
    Situation("stuck before anything was promoted", "Failed", first(stuck=stuck("InvalidSpec"))),
    Situation("stuck in the middle of a rollout", "Failed", rolling("Starting", stuck=stuck("ApplyRefused"))),
    Situation("a refused Secret", "Failed", idle(secrets=REFUSED, stuck=stuck("SecretsInvalid"), goal=None)),
    Situation("Secrets are being read, none promoted", "InProgress", first(secrets=None, busy="being read: db")),
    Situation("Secrets are being read while serving", "InProgress", idle(secrets=None, busy="being read: db")),
    Situation("remains of an earlier object", "InProgress", first(busy="being collected: Service ccl")),
    Situation("remains and a refusal", "Failed", first(busy="being collected", stuck=stuck("InvalidSpec"))),
    Situation("paused while serving", "Current", idle(paused=True)),
    Situation("paused, and a pod is away", "InProgress", idle(paused=True, serving=SHORT)),
    Situation("paused before anything was promoted", "InProgress", first(paused=True)),
    Situation("paused in the middle of a rollout", "InProgress", rolling("Checking", paused=True)),
    Situation("paused and aborted", "Failed", rolling("Aborted", reason="MailSender", paused=True)),
    Situation("the backup failed", "Current", idle(backup=Verdict("False", "BackupFailed", "at dump"))),
    Situation("no backup came", "Current", idle(backup=Verdict("False", "BackupOverdue", "none since"))),
    Situation("the database is away, pods still ready", "Current", idle(database=Verdict("False", "Timeout", "5 s"))),
    Situation("the database is away, pods not ready", "InProgress", idle(database=REFUSED, serving=SHORT)),
    Situation("the database's state is not known", "Current", idle(database=Verdict("Unknown", "NoAnswer", "silent"))),
    Situation("keys wait for a pod", "InProgress", idle(rotation="keys wait for ccl-web-0")),
    Situation("keys wait for a pod, and something is stuck", "Failed", idle(rotation="wait", stuck=stuck("Forbidden"))),
    Situation("the change has not been seen", "InProgress", idle(), observed=2),
    Situation("failed, and the repair has not been seen", "InProgress", idle(stuck=stuck("InvalidSpec")), observed=2),
    Situation("being deleted", "Terminating", idle(), metadata={"deletionTimestamp": "2030-01-01T00:00:00Z"}),
]


def told(situation: Situation) -> dict[str, Any]:
    conditions = report.conditions(situation.findings, Status(), situation.observed, START)
    status = render_status(Status(observed_generation=situation.observed, conditions=conditions))
    return {"metadata": {"generation": 3, **situation.metadata}, "status": status}


def test_there_are_enough_situations_and_each_has_its_own_name():
    assert len({situation.name for situation in SITUATIONS}) == len(SITUATIONS) >= 30


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_tools_read_the_situation_as_it_is(situation):
    assert verdict(told(situation)) == situation.expected


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_the_conditions_have_the_form_of_metav1(situation):
    conditions = told(situation)["status"]["conditions"]
    assert [condition["type"] for condition in conditions] == list(report.TYPES)
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]*", condition["reason"]) for condition in conditions)
    assert all(condition["observedGeneration"] == situation.observed for condition in conditions)


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_nothing_is_on_its_way_and_stuck_at_once_and_what_is_wrong_is_explained(situation):
    conditions = {condition["type"]: condition for condition in told(situation)["status"]["conditions"]}
    assert {conditions["Reconciling"]["status"], conditions["Stalled"]["status"]} != {"True"}
    bad = [conditions["Stalled"]] if conditions["Stalled"]["status"] == "True" else []
    bad += [conditions["Ready"]] if conditions["Ready"]["status"] == "False" else []
    assert all(condition["message"] for condition in bad)


NEW = "localhost/ccl/ccl-service:2"
Play = Callable[[SimulatedCluster], None]


def paused_with_a_newer_specification(cluster: SimulatedCluster) -> None:
    cluster.change(paused=True, image=NEW)
    cluster.run()


def paused_as_it_is(cluster: SimulatedCluster) -> None:
    cluster.change(paused=True)
    cluster.run()


def no_stable_pod_answers(cluster: SimulatedCluster) -> None:
    cluster.answers[SPEC["image"]] = lambda _: None
    cluster.run()
    assert cluster.condition("DatabaseReachable") == ("Unknown", "NoAnswer")


def a_rotation_waits(cluster: SimulatedCluster) -> None:
    revision = cluster.status["stable"]["revision"]
    cluster.mute = {f"{names.jobs('ccl', revision)}-0"}
    cluster.change(secrets={**SPEC["secrets"], "rotate": "today"})
    cluster.run(until=lambda: cluster.condition("Reconciling")[1] == "RotationWaiting")


def a_rotation_is_under_way(cluster: SimulatedCluster) -> None:
    cluster.change(secrets={**SPEC["secrets"], "rotate": "today"})
    cluster.run(until=lambda: "rotate" in cluster.status["secrets"])


def writes_keep_failing(cluster: SimulatedCluster) -> None:
    cluster.interrupt("patch services/ccl: HTTP 500")
    assert cluster.condition("Reconciling") == ("True", "ApiError")


def writes_keep_failing_where_something_was_stuck(cluster: SimulatedCluster) -> None:
    cluster.refused[names.SERVICE, "ccl"] = "no"
    cluster.reconcile()
    assert cluster.condition("Stalled") == ("True", "ApplyRefused")
    cluster.interrupt("patch services/ccl: HTTP 500")
    assert cluster.condition("Stalled") == ("Unknown", "ApiError")


def writes_failed_and_do_not_any_more(cluster: SimulatedCluster) -> None:
    writes_keep_failing_where_something_was_stuck(cluster)
    cluster.refused.clear()
    cluster.run()


def a_pass_raises(cluster: SimulatedCluster) -> None:
    cluster.fail()
    assert cluster.condition("Stalled") == ("True", "InternalError")


def a_pass_raised_and_does_not_any_more(cluster: SimulatedCluster) -> None:
    cluster.fail()
    cluster.run()


PLAYS: list[tuple[Play, str]] = [
    (paused_as_it_is, "Current"),
    (paused_with_a_newer_specification, "InProgress"),
    (no_stable_pod_answers, "Current"),
    (a_rotation_is_under_way, "Current"),
    (a_rotation_waits, "InProgress"),
    (writes_keep_failing, "InProgress"),
    (writes_keep_failing_where_something_was_stuck, "InProgress"),
    (writes_failed_and_do_not_any_more, "Current"),
    (a_pass_raises, "Failed"),
    (a_pass_raised_and_does_not_any_more, "Current"),
]


@pytest.mark.parametrize(("play", "expected"), PLAYS, ids=lambda each: getattr(each, "__name__", each))
def test_tools_read_what_passes_have_written_as_it_is(promoted, play, expected):
    play(promoted)
    assert verdict(promoted.owner) == expected
    assert {promoted.condition("Reconciling")[0], promoted.condition("Stalled")[0]} != {"True"}


def test_the_very_first_write_is_read_as_on_its_way():
    status = Status(observed_generation=1, conditions=report.first_conditions(1, START))
    assert verdict({"metadata": {"generation": 1}, "status": render_status(status)}) == "InProgress"
