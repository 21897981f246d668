"""What a plan says when something is in the way, and what it leaves alone."""

import base64
import copy
from dataclasses import replace
from datetime import timedelta

import pytest

from ccl_contract.readiness import CheckStatus
from ccl_operator import names
from ccl_operator.manifests.meta import Target, owner_reference
from ccl_operator.plan import plan
from ccl_operator.rollout import FRESH
from tests.unit.operator.conftest import CONFIG, SPEC, SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"
ENTROPY = bytes(range(256))


def planned(cluster, **changes):
    observed = replace(cluster.observed(), **changes)
    return plan(observed, now=cluster.now, config=CONFIG, entropy=ENTROPY)


def condition(result, kind):
    found = next(each for each in result.status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


def test_a_paused_object_is_only_reported_on(promoted):
    promoted.change(paused=True, image=NEW)
    before = promoted.writes
    result = promoted.reconcile()
    assert (result.applies, result.deletes) == ((), ())
    assert promoted.writes == before + 1
    assert promoted.status["phase"] == "Paused"
    assert promoted.condition("Paused") == ("True", "Paused")
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.condition("Promoted") == ("False", "RolloutInProgress")


def test_a_pause_that_ends_goes_on_where_it_was(promoted):
    promoted.change(paused=True, image=NEW)
    promoted.run()
    promoted.change(paused=False)
    promoted.run()
    assert promoted.status["stable"]["image"] == NEW
    assert promoted.condition("Paused") == ("False", "Acting")


def test_an_object_that_is_being_deleted_gets_a_last_word_and_no_action(promoted):
    promoted.owner["metadata"]["deletionTimestamp"] = "2030-01-01T01:00:00Z"
    result = promoted.reconcile()
    assert (result.applies, result.deletes) == ((), ())
    assert promoted.status["phase"] == "Deleting"


def test_an_object_in_the_way_that_is_not_ours_stalls_and_says_which(cluster):
    cluster.foreign.add((names.SERVICE, "ccl"))
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidOwnership")
    assert "Service ccl" in cluster.condition_message("Stalled")
    assert cluster.named(names.DEPLOYMENT) == []
    assert [each.reason for each in cluster.events if each.type == "Warning"] == ["InvalidOwnership"]


def test_an_object_in_the_way_is_asked_for_again_so_that_its_going_is_noticed(cluster):
    cluster.foreign.add((names.SERVICE, "ccl"))
    cluster.run()
    assert (names.SERVICE, "ccl") in {
        (each.resource, each.manifest["metadata"]["name"]) for each in planned(cluster).applies
    }
    cluster.foreign.clear()
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")


def test_a_missing_permission_is_named_and_keeps_the_rollout_where_it_is(promoted):
    promoted.change(image=NEW)
    result = planned(promoted, forbidden={names.JOB: "cannot create resource jobs"})
    assert condition(result, "Stalled") == ("True", "Forbidden")
    assert "jobs: cannot create" in result.status["message"]
    assert "candidate" not in result.status


def test_remains_of_an_earlier_object_are_waited_for_and_not_touched(promoted):
    old = {key: copy.deepcopy(each) for key, each in promoted.objects.items() if key[0] == names.DEPLOYMENT}
    promoted.delete_owner_and_recreate()
    promoted.objects.update(old)
    promoted.frozen.update(name for _, name in old)
    promoted.run(until=lambda: promoted.status.get("rollout", {}).get("phase") == "Starting")
    result = promoted.reconcile()
    assert not [each for each in result.applies if each.resource == names.DEPLOYMENT]
    assert not result.deletes
    assert result.requeue_at is not None
    assert all(promoted.objects[key] == old[key] for key in old)
    for key in old:
        del promoted.objects[key]
    promoted.frozen.clear()
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")


def test_a_spec_that_breaks_a_rule_stalls_and_what_runs_is_kept_up(promoted):
    before, writes = promoted.status["stable"], promoted.writes
    promoted.change(environment="production", http={"corsOrigins": []}, replicas=3, sessions={})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "requires http.corsOrigins" in promoted.condition_message("Stalled")
    assert "replicas above 1 need sessions.redis" in promoted.condition_message("Stalled")
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.condition("SecretsValid") == ("True", "SecretsValid")
    assert promoted.condition("Promoted") == ("False", "InvalidSpec")
    assert promoted.status["stable"] == before
    assert promoted.replicas(names.web("ccl", before["revision"])) == 2
    assert promoted.writes == writes + 1, "the status alone"


def test_before_the_first_revision_nothing_is_made_of_a_spec_that_breaks_a_rule(cluster):
    cluster.change(environment="production", http={"corsOrigins": []})
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec")
    assert not [key for key in cluster.objects if key[0] not in names.READ_ONLY]


def test_a_spec_of_the_wrong_shape_stalls_with_the_field(promoted):
    promoted.change(replicas="many")
    promoted.reconcile()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "spec.replicas" in promoted.condition_message("Stalled")


def test_a_database_version_without_an_image_is_an_invalid_spec(cluster):
    cluster.change(database={"embedded": {"version": 15, "storage": "1Gi"}})
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec")


def test_a_kept_volume_of_another_major_version_is_not_started_on(promoted):
    promoted.delete_owner_and_recreate()
    volume = promoted.objects[names.VOLUME_CLAIM, "data-ccl-postgres-0"]
    volume["metadata"]["labels"] = {**volume["metadata"]["labels"], names.POSTGRES_VERSION_LABEL: "16"}
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "holds PostgreSQL 16" in promoted.condition_message("Stalled")


def test_an_upgraded_operator_with_other_images_replaces_no_database(promoted):
    config = replace(CONFIG, postgres_images={17: "newer:17"}, redis_image="newer:8")
    result = plan(promoted.observed(), now=promoted.now, config=config, entropy=ENTROPY)
    images = {
        each.manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in result.applies
        if each.resource == names.STATEFUL_SET
    }
    assert images == {"docker.io/library/postgres:17", "docker.io/valkey/valkey:8"}
    assert result.status["images"]["postgres"] == "docker.io/library/postgres:17"


def break_a_rule(cluster):
    cluster.change(http={"corsOrigins": []})


def ask_for_too_many_connections(cluster):
    cluster.change(database={**SPEC["database"], "pool": {"size": 60}})


def ask_for_what_has_no_image(cluster):
    cluster.change(database={**SPEC["database"], "pooler": {}})
    return replace(CONFIG, pgbouncer_image="")


def lose_a_referenced_secret(cluster):
    cluster.referenced["openai"] = None


#: What refuses the specification, and the reason of Stalled. It may return another configuration of the operator.
REFUSALS = {
    "accepted": (lambda _: None, "NotStalled"),
    "a broken rule": (break_a_rule, "InvalidSpec"),
    "too many connections": (ask_for_too_many_connections, "InvalidSpec"),
    "a missing image": (ask_for_what_has_no_image, "InvalidSpec"),
    "a missing Secret": (lose_a_referenced_secret, "SecretsInvalid"),
}


@pytest.fixture(params=REFUSALS)
def refused(request, promoted, monkeypatch):
    """A promoted cluster whose specification is refused now, in each way that leaves it readable."""
    refuse, reason = REFUSALS[request.param]
    monkeypatch.setattr("tests.unit.operator.conftest.CONFIG", refuse(promoted) or CONFIG)
    promoted.run()
    assert promoted.condition("Stalled")[1] == reason
    return promoted


@pytest.mark.parametrize(
    "key",
    [
        (names.SERVICE, "ccl"),
        (names.STATEFUL_SET, "ccl-postgres"),
        (names.STATEFUL_SET, "ccl-redis"),
        (names.CRON_JOB, "ccl-backup"),
        (names.CRON_JOB, "ccl-maintain"),
        (names.SECRET, "ccl-monitor"),
        (names.SECRET, "ccl-direct"),
    ],
    ids=lambda key: key[1],
)
def test_a_deleted_child_comes_back(refused, key):
    del refused.objects[key]
    refused.run()
    assert key in refused.objects
    assert refused.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("kind", [names.DEPLOYMENT, names.CONFIG_MAP, names.DISRUPTION_BUDGET])
def test_a_deleted_child_of_the_stable_revision_comes_back(refused, kind):
    comes_back(refused, kind)


def test_a_deleted_template_of_the_stable_revision_comes_back_from_the_specification(promoted):
    comes_back(promoted, names.CONTROLLER_REVISION)


def comes_back(cluster, kind):
    revision = cluster.status["stable"]["revision"]
    gone = [key for key in cluster.objects if key[0] == kind and revision in key[1]]
    before = {key: cluster.objects.pop(key) for key in gone}
    cluster.run()
    assert gone
    assert {key: cluster.objects[key]["metadata"]["labels"] for key in gone} == {
        key: each["metadata"]["labels"] for key, each in before.items()
    }
    assert cluster.status["stable"]["revision"] == revision


def test_a_refused_specification_is_told_once_and_then_nothing_is_written(refused):
    before, told = refused.writes, len(refused.events)
    refused.now += timedelta(minutes=1)
    refused.run()
    assert (refused.writes, len(refused.events)) == (before, told)


def test_a_refusal_ends_a_rollout_and_leaves_the_stable_revision(promoted):
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    before = promoted.status["stable"]
    break_a_rule(promoted)
    promoted.run()
    assert promoted.status["stable"] == before
    assert len(promoted.named(names.DEPLOYMENT)) == 2


def test_every_revision_with_running_web_pods_has_a_budget_of_its_own(promoted):
    first = promoted.status["stable"]["revision"]
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Migrating")
    assert promoted.named(names.DISRUPTION_BUDGET) == [names.web("ccl", first)]
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    second = promoted.status["rollout"]["revision"]
    both = sorted(names.web("ccl", revision) for revision in (first, second))
    assert promoted.named(names.DISRUPTION_BUDGET) == both
    selected = [promoted.get(names.DISRUPTION_BUDGET, name)["spec"]["selector"]["matchLabels"] for name in both]
    assert {each[names.REVISION_LABEL] for each in selected} == {first, second}
    promoted.run(until=lambda: promoted.status["stable"]["revision"] == second)
    promoted.reconcile()
    assert promoted.named(names.DISRUPTION_BUDGET) == both, "the losing revision still serves open connections"
    promoted.run()
    assert promoted.named(names.DISRUPTION_BUDGET) == [names.web("ccl", second)]


def test_stored_templates_are_replayed_whatever_a_newer_operator_would_render(promoted, monkeypatch):
    before = promoted.writes
    monkeypatch.setattr("ccl_operator.manifests.service_pods.GRACE_SECONDS", 99)
    promoted.run()
    assert promoted.writes == before


def test_children_that_are_kept_have_no_owner_and_all_others_have(promoted):
    made = [each for key, each in promoted.objects.items() if key[0] not in {*names.READ_ONLY}]
    orphans = sorted(each["metadata"]["name"] for each in made if not each["metadata"].get("ownerReferences"))
    assert orphans == ["ccl-backups", "ccl-keys", "ccl-postgres", "data-ccl-postgres-0"]


def test_every_child_carries_the_labels_by_which_it_is_found_again(promoted):
    assert [name for (_, name), each in promoted.objects.items() if not names.is_ours(each, "ccl")] == []


def test_one_replica_without_redis_gets_neither_budget_nor_redis():
    spec = {**copy.deepcopy(SPEC), "replicas": 1, "sessions": {}}
    cluster = SimulatedCluster(spec=spec)
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    assert cluster.named(names.DISRUPTION_BUDGET) == []
    assert cluster.named(names.STATEFUL_SET) == ["ccl-postgres"]


def test_a_redis_no_longer_asked_for_goes_only_after_the_switch(promoted):
    promoted.answers[SPEC["image"]] = lambda _: None
    promoted.change(replicas=1, sessions={})
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    assert "ccl-redis" in promoted.named(names.STATEFUL_SET)
    promoted.answers.clear()
    promoted.run()
    assert promoted.named(names.STATEFUL_SET) == ["ccl-postgres"]
    assert promoted.named(names.DISRUPTION_BUDGET) == []


def test_a_backup_no_longer_asked_for_loses_its_schedule_and_keeps_its_volume(promoted):
    del promoted.spec["backup"]
    promoted.change()
    promoted.run()
    assert promoted.named(names.CRON_JOB) == ["ccl-maintain"]
    assert "ccl-backups" in promoted.named(names.VOLUME_CLAIM)


def test_gate_answers_are_asked_of_every_running_pod_of_stable_and_candidate(promoted):
    assert len(planned(promoted).probes) == 2
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    targets = planned(promoted).probes
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


PRUNED = (
    (names.INGRESS, None),
    (names.NETWORK_POLICY, None),
    (names.AUTOSCALER, None),
    (names.DEPLOYMENT, "before"),
    (names.CONFIG_MAP, "before"),
    (names.SECRET, "before"),
)


@pytest.mark.parametrize(("resource", "revision"), PRUNED)
def test_only_what_carries_our_owner_reference_is_deleted(promoted, resource, revision):
    metadata = {"uid": "1", "resourceVersion": "1", "labels": names.labels("ccl", revision=revision)}
    theirs = [{"apiVersion": "example.com/v1", "kind": "Gate", "name": "x", "uid": "y"}]
    ours = [owner_reference(Target.of(promoted.owner))]
    for name, owners in {"theirs": theirs, "copied": [], "left": ours, "shared": theirs + ours}.items():
        promoted.objects[resource, name] = {
            "spec": {},
            "metadata": metadata | {"name": name, "ownerReferences": owners},
        }
    assert sorted(each.name for each in promoted.reconcile().deletes) == ["left", "shared"]


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


def test_nothing_is_derived_from_keys_that_were_not_kept(cluster):
    cluster.foreign.add((names.SECRET, "ccl-keys"))
    for _ in range(5):
        cluster.reconcile()
    assert cluster.named(names.CONTROLLER_REVISION) == []
    assert cluster.named(names.CONFIG_MAP) == []
    assert cluster.condition("Stalled") == ("True", "InvalidOwnership")
    cluster.foreign.clear()
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    assert len(cluster.named(names.CONTROLLER_REVISION)) == 1


def test_keys_that_are_lost_lead_to_one_new_revision(promoted):
    del promoted.objects[names.SECRET, "ccl-keys"]
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")
    assert len(promoted.named(names.CONTROLLER_REVISION)) == 2


def test_the_address_for_backups_is_of_no_revision_and_goes_past_the_pooler(promoted):
    promoted.change(database={**promoted.spec["database"], "pooler": {}})
    promoted.run()
    secret = promoted.get(names.SECRET, "ccl-direct")
    url = base64.b64decode(secret["data"]["DATABASE_URL"]).decode()
    assert "@ccl-postgres.loans.svc:5432/" in url
    assert names.REVISION_LABEL not in secret["metadata"]["labels"]
    container = promoted.get(names.CRON_JOB, "ccl-backup")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert container["containers"][0]["env"][0]["valueFrom"] == {
        "secretKeyRef": {"name": "ccl-direct", "key": "DATABASE_URL"}
    }


def test_a_refused_child_is_named_and_does_not_hold_a_newer_specification(promoted):
    promoted.refused[names.CRON_JOB, "ccl-backup"] = "spec.schedule: Invalid value"
    promoted.change(image="localhost/ccl/ccl-service:2")
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "ApplyRefused")
    assert "CronJob ccl-backup: spec.schedule" in promoted.condition_message("Stalled")
    assert promoted.condition("Promoted") == ("True", "Promoted")
