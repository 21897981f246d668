"""Whole promotions, walked through on a simulated cluster."""

from datetime import timedelta

from ccl_operator import names

NEW = "localhost/ccl/ccl-service:2"


def test_the_very_first_write_is_a_status_and_nothing_else(cluster):
    plan = cluster.reconcile()
    assert plan.applies == ()
    assert cluster.condition("Ready")[0] == "Unknown"
    assert cluster.condition("Reconciling")[0] == "True"


def test_a_first_revision_is_promoted_and_serves(cluster):
    cluster.run()
    assert cluster.condition("Ready") == ("True", "Serving")
    assert cluster.condition("Promoted") == ("True", "Promoted")
    assert cluster.condition("Reconciling")[0] == "False"
    assert cluster.condition("Stalled")[0] == "False"
    assert cluster.status["phase"] == "Ready"
    assert cluster.status["observedGeneration"] == 1
    assert cluster.traffic() == cluster.status["stable"]["revision"]
    assert cluster.status["schema"] == {"epoch": 3, "minCompatible": 1}


def test_the_first_revision_passes_the_gate_too(cluster, failing):
    cluster.answers[cluster.spec["image"]] = failing
    cluster.run()
    assert set(cluster.served) == {None}
    assert "stable" not in cluster.status
    assert cluster.condition("Promoted") == ("False", "MailSender")


def test_a_planned_pass_with_nothing_changed_writes_nothing(promoted):
    before = promoted.writes
    first, second = promoted.reconcile(), promoted.reconcile()
    assert promoted.writes == before
    assert first == second
    assert first.events == ()


def test_a_restarted_operator_without_any_probe_yet_writes_nothing(promoted, monkeypatch):
    monkeypatch.setattr(promoted, "_probes", dict)
    before = promoted.writes
    promoted.reconcile()
    assert promoted.writes == before


def test_a_new_image_takes_over_without_a_moment_without_traffic(promoted):
    first = promoted.status["stable"]["revision"]
    promoted.served.clear()
    promoted.change(image=NEW)
    promoted.run()
    second = promoted.status["stable"]["revision"]
    assert promoted.status["stable"]["image"] == NEW
    assert second != first
    assert set(promoted.served) == {first, second}
    assert promoted.served.index(second) == len([each for each in promoted.served if each == first])


def test_the_losing_revision_stays_for_thirty_seconds_after_the_switch_and_then_goes(promoted):
    first = promoted.status["stable"]["revision"]
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["stable"]["image"] == NEW)
    switched = promoted.now
    assert f"ccl-web-{first}" in promoted.named(names.DEPLOYMENT)
    promoted.run(until=lambda: f"ccl-web-{first}" not in promoted.named(names.DEPLOYMENT))
    assert timedelta(seconds=30) <= promoted.now - switched <= timedelta(seconds=32)
    promoted.run()
    left = {name for _, name in promoted.objects if first in name}
    assert left == {f"ccl-{first}"}, "only its ControllerRevision is kept"


def test_a_candidates_jobs_stay_at_zero_until_the_old_ones_are_gone(promoted):
    first = promoted.status["stable"]["revision"]
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    second = promoted.status["rollout"]["revision"]
    assert promoted.replicas(f"ccl-jobs-{second}") == 0
    assert promoted.replicas(f"ccl-jobs-{first}") == 1
    promoted.frozen.add(f"ccl-jobs-{first}")
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Switching")
    promoted.reconcile()
    assert promoted.replicas(f"ccl-jobs-{first}") == 0
    assert promoted.replicas(f"ccl-jobs-{second}") == 0
    assert promoted.traffic() == first
    promoted.frozen.clear()
    promoted.run()
    assert promoted.replicas(f"ccl-jobs-{second}") == 1
    assert promoted.traffic() == second


def test_a_failing_check_aborts_with_its_id_as_the_reason_and_leaves_the_stable_revision_alone(promoted, failing):
    first = promoted.status["stable"]
    before = {key: promoted.objects[key]["metadata"] for key in promoted.objects if first["revision"] in key[1]}
    promoted.answers[NEW] = failing
    promoted.served.clear()
    promoted.change(image=NEW)
    promoted.run()
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.condition("Promoted") == ("False", "MailSender")
    assert promoted.condition("Stalled") == ("True", "MailSender")
    assert promoted.status["phase"] == "Stalled"
    assert "set mail.from" in promoted.condition_message("Stalled")
    assert promoted.status["stable"] == first
    assert set(promoted.served) == {first["revision"]}
    assert {key: promoted.objects[key]["metadata"] for key in before} == before
    assert [event.reason for event in promoted.events if event.type == "Warning"] == ["MailSender"]


def test_an_aborted_candidate_is_removed_but_its_migration_job_stays_for_the_logs(promoted, failing):
    promoted.answers[NEW] = failing
    promoted.change(image=NEW)
    promoted.run()
    aborted = promoted.status["rollout"]["revision"]
    left = {name for _, name in promoted.objects if aborted in name}
    assert left == {f"ccl-migrate-{aborted}", f"ccl-migrate-{aborted}-x", f"ccl-{aborted}"}


def test_an_aborted_revision_is_not_tried_again_until_the_spec_changes(promoted, failing):
    promoted.answers[NEW] = failing
    promoted.change(image=NEW)
    promoted.run()
    del promoted.answers[NEW]
    promoted.now += timedelta(hours=1)
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "MailSender")
    promoted.change(mail={**promoted.spec["mail"], "postalAddress": "200 Example Street"})
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")
    assert promoted.status["stable"]["image"] == NEW


def test_a_changed_deadline_gives_an_aborted_revision_another_try(promoted):
    promoted.migrations[NEW] = "DeadlineExceeded"
    promoted.change(image=NEW)
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "MigrationFailed")
    del promoted.migrations[NEW]
    promoted.change(migration={"timeout": "1h"})
    promoted.run()
    assert promoted.status["stable"]["image"] == NEW
    assert promoted.condition("Stalled")[0] == "False"


def test_going_back_to_the_stable_spec_ends_the_abort(promoted, failing):
    old = promoted.spec["image"]
    promoted.answers[NEW] = failing
    promoted.change(image=NEW)
    promoted.run()
    promoted.change(image=old)
    promoted.run()
    assert promoted.condition("Stalled")[0] == "False"
    assert promoted.condition("Promoted") == ("True", "Promoted")
    assert not [name for name in promoted.named(names.JOB) if promoted.status["stable"]["revision"] not in name]


def test_a_failed_migration_aborts_before_any_pod_of_the_candidate(promoted):
    promoted.migrations[NEW] = "Job has reached the specified backoff limit"
    promoted.change(image=NEW)
    promoted.run()
    assert promoted.condition("Promoted") == ("False", "MigrationFailed")
    assert len(promoted.named(names.DEPLOYMENT)) == 2


def test_a_version_the_database_has_left_behind_is_refused_with_schema_ahead(promoted, migrated):
    promoted.migrations[NEW] = {**migrated, "own": 1, "min_compatible": 2}
    promoted.change(image=NEW)
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "SchemaAhead")


def test_a_candidate_that_never_answers_is_given_up_at_its_deadline(promoted):
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    started = promoted.now
    promoted.run()
    assert promoted.condition("Promoted") == ("False", "CheckingDeadlineExceeded")
    assert promoted.now - started >= timedelta(minutes=5)


def test_a_candidate_whose_pods_never_come_up_is_given_up_at_its_deadline(promoted):
    promoted.frozen.add(NEW)
    promoted.change(image=NEW)
    promoted.run()
    assert promoted.condition("Promoted") == ("False", "StartingDeadlineExceeded")


def test_a_newer_spec_supersedes_a_candidate(promoted):
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    promoted.change(image="localhost/ccl/ccl-service:3")
    promoted.run()
    assert promoted.status["stable"]["image"] == "localhost/ccl/ccl-service:3"


def begin_migrating(cluster, *, answered):
    """The candidate's migration runs and does not end."""
    cluster.migrating[NEW] = answered
    cluster.change(image=NEW)
    for _ in range(3):
        cluster.reconcile()
        cluster.controllers()
    cluster.reconcile()
    assert cluster.status["rollout"]["phase"] == "Migrating"


def test_a_running_migration_is_waited_for_before_a_newer_spec_takes_over(promoted):
    begin_migrating(promoted, answered=True)
    promoted.change(image="localhost/ccl/ccl-service:3")
    promoted.reconcile()
    assert promoted.status["candidate"]["image"] == NEW
    promoted.migrating.clear()
    promoted.run()
    assert promoted.status["stable"]["image"] == "localhost/ccl/ccl-service:3"


def test_the_time_of_a_migration_counts_from_the_first_answer_of_the_database(promoted):
    begin_migrating(promoted, answered=False)
    promoted.now += timedelta(hours=5)
    promoted.reconcile()
    assert promoted.status["rollout"]["phase"] == "Migrating"
    assert "the database has not answered yet" in promoted.condition_message("Reconciling")

    promoted.migrating[NEW] = True
    promoted.controllers()
    promoted.now += timedelta(minutes=9)
    promoted.reconcile()
    assert promoted.status["rollout"]["phase"] == "Migrating"
    promoted.now += timedelta(minutes=2)
    promoted.reconcile()
    assert promoted.condition("Stalled") == ("True", "MigrationDeadlineExceeded")


def test_a_migration_that_waits_for_its_database_gives_way_to_a_newer_spec(promoted):
    begin_migrating(promoted, answered=False)
    promoted.change(image="localhost/ccl/ccl-service:3")
    promoted.run()
    assert promoted.status["stable"]["image"] == "localhost/ccl/ccl-service:3"


def test_a_migration_whose_pod_does_not_start_is_given_up(promoted):
    promoted.change(image=NEW)
    promoted.reconcile()
    promoted.frozen.add(
        next(name for name in promoted.named(names.JOB) if promoted.status["rollout"]["revision"] in name)
    )
    promoted.now += timedelta(minutes=11)
    promoted.reconcile()
    assert promoted.condition("Stalled") == ("True", "MigrationDeadlineExceeded")


def test_scaling_is_no_new_revision(promoted):
    revision = promoted.status["stable"]["revision"]
    promoted.change(replicas=3)
    promoted.run()
    assert promoted.status["stable"]["revision"] == revision
    assert promoted.replicas(f"ccl-web-{revision}") == 3
    assert promoted.status["readyReplicas"] == 3


def test_a_database_that_comes_late_only_delays_the_first_promotion(cluster):
    cluster.frozen.add("ccl-postgres")
    cluster.run(until=lambda: cluster.status.get("phase") == "Stalled")
    assert cluster.condition("Stalled") == ("True", "PreparingDeadlineExceeded")
    cluster.frozen.clear()
    cluster.controllers()
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")


def test_a_spec_change_that_only_backup_reads_is_no_new_revision(promoted):
    revision = promoted.status["stable"]["revision"]
    promoted.change(backup={**promoted.spec["backup"], "schedule": "0 3 * * *"})
    promoted.run()
    assert promoted.status["stable"]["revision"] == revision
    assert promoted.get(names.CRON_JOB, "ccl-backup")["spec"]["schedule"] == "0 3 * * *"
