"""What a plan says when something is in the way, and what it leaves alone."""

import copy

from ccl_operator import names

NEW = "localhost/ccl/ccl-service:2"


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
        (each.resource, each.manifest["metadata"]["name"]) for each in cluster.planned().applies
    }
    cluster.foreign.clear()
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")


def test_a_missing_permission_is_named_and_keeps_the_rollout_where_it_is(promoted):
    promoted.change(image=NEW)
    result = promoted.planned(forbidden={names.JOB: "cannot create resource jobs"})
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


def test_a_refused_child_is_named_and_does_not_hold_a_newer_specification(promoted):
    promoted.refused[names.CRON_JOB, "ccl-backup"] = "spec.schedule: Invalid value"
    promoted.change(image="localhost/ccl/ccl-service:2")
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "ApplyRefused")
    assert "CronJob ccl-backup: spec.schedule" in promoted.condition_message("Stalled")
    assert promoted.condition("Promoted") == ("True", "Promoted")
