"""What the pods say, as it stands in the conditions."""

import pytest

from ccl_contract.readiness import CheckStatus
from ccl_operator import names
from ccl_operator.rollout import FRESH
from tests.unit.operator.samples import SPEC

NEW = "localhost/ccl/ccl-service:2"


def test_gate_answers_are_asked_of_every_running_pod_of_stable_and_candidate(promoted):
    assert len(promoted.planned().probes) == 2
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    targets = promoted.planned().probes
    assert len(targets) == 4
    assert {target.port for target in targets} == {5000}


def test_a_stable_revision_whose_pods_are_not_ready_is_degraded(promoted):
    web = promoted.objects[names.DEPLOYMENT, f"ccl-web-{promoted.status['stable']['revision']}"]
    web["status"]["readyReplicas"] = 1
    promoted.reconcile()
    assert promoted.condition("Ready") == ("False", "PodsNotReady")
    assert promoted.status["phase"] == "Degraded"
    assert promoted.status["readyReplicas"] == 1


def test_the_troubles_of_stable_pods_are_named(promoted):
    revision = promoted.status["stable"]["revision"]
    promoted.objects[names.DEPLOYMENT, f"ccl-web-{revision}"]["status"]["readyReplicas"] = 1
    waiting = {"state": {"waiting": {"reason": "CrashLoopBackOff", "message": "secret words"}}}
    promoted.objects[names.POD, f"ccl-web-{revision}-0"]["status"]["containerStatuses"] = [waiting]
    promoted.reconcile()
    assert promoted.condition_message("Ready") == f"ccl-web-{revision}: 1 of 2 pods ready (CrashLoopBackOff)"


def test_an_unreachable_database_is_told_in_its_own_condition_with_what_to_do(promoted, failing):
    promoted.answers[SPEC["image"]] = lambda revision: failing(revision, "DatabaseReachable")
    promoted.reconcile()
    assert promoted.condition("DatabaseReachable") == ("False", "DatabaseUnreachable")
    assert promoted.condition_message("DatabaseReachable") == "no sender is set: set mail.from"
    assert promoted.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize(
    ("reason", "told"), [("ConnectionRefused", "ConnectionRefused"), ("no route", "DatabaseUnreachable")]
)
def test_a_reason_of_a_check_is_taken_when_conditions_may_carry_it(promoted, failing, reason, told):
    def answer(revision):
        report = failing(revision, "DatabaseReachable")
        return report.model_copy(update={"checks": (report.checks[0].model_copy(update={"reason": reason}),)})

    promoted.answers[SPEC["image"]] = answer
    promoted.reconcile()
    assert promoted.condition("DatabaseReachable") == ("False", told)


def test_when_no_stable_pod_answers_any_more_nobody_knows_of_the_database(promoted):
    promoted.answers[SPEC["image"]] = lambda _: None
    result = promoted.reconcile()
    assert promoted.condition("DatabaseReachable")[0] == "True"
    assert result.requeue_at == promoted.now + FRESH
    promoted.now += FRESH
    promoted.reconcile()
    assert promoted.condition("DatabaseReachable") == ("Unknown", "NoAnswer")
    promoted.answers.clear()
    promoted.reconcile()
    assert promoted.condition("DatabaseReachable") == ("True", "DatabaseReachable")


def test_when_no_stable_pod_runs_nobody_knows_of_the_database(promoted):
    for (kind, _), each in promoted.objects.items():
        if kind == names.POD:
            each["status"] = {"phase": "Pending"}
    promoted.reconcile()  # what they said before counts in this pass
    promoted.reconcile()
    assert promoted.condition("DatabaseReachable") == ("Unknown", "NoAnswer")


def test_a_warning_blocks_only_when_the_spec_treats_it_as_a_failure(promoted, failing):
    def warning(revision):
        report = failing(revision, "Tls")
        check = report.checks[0].model_copy(update={"status": CheckStatus.WARN})
        return report.model_copy(update={"checks": (check,)})

    promoted.answers[NEW] = warning
    gates = {"gates": {"productionReadiness": {"treatAsFail": ["Tls"]}}}
    promoted.change(image=NEW, promotion={**SPEC["promotion"], **gates})
    promoted.run()
    assert promoted.condition("Promoted") == ("False", "Tls")
    promoted.change(promotion=SPEC["promotion"])
    promoted.change(mail={**SPEC["mail"], "postalAddress": "1 Other Street"})
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")


def test_conditions_keep_their_transition_time_while_their_status_stays(promoted):
    before = {each["type"]: each["lastTransitionTime"] for each in promoted.status["conditions"]}
    promoted.now = promoted.now.replace(hour=5)
    promoted.change(backup={**SPEC["backup"], "schedule": "0 3 * * *"})
    promoted.run()
    assert {each["type"]: each["lastTransitionTime"] for each in promoted.status["conditions"]} == before
    assert {each["observedGeneration"] for each in promoted.status["conditions"]} == {2}
