"""Which children there are, how long they stay, and what is never taken for one."""

import base64
import copy
from dataclasses import replace

import pytest

from ccl_operator import names
from ccl_operator.manifests.meta import Target, owner_reference
from tests.unit.operator.samples import SPEC
from tests.unit.operator.simulated_cluster import SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"


def test_an_upgraded_operator_with_other_images_replaces_no_database(promoted):
    promoted.config = replace(promoted.config, postgres_images={17: "newer:17"}, redis_image="newer:8")
    result = promoted.planned()
    images = {
        each.manifest["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in result.applies
        if each.resource == names.STATEFUL_SET
    }
    assert images == {"docker.io/library/postgres:17", "docker.io/valkey/valkey:8"}
    assert result.status["images"]["postgres"] == "docker.io/library/postgres:17"


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
