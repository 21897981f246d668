"""What backup Jobs report becomes the status and the condition BackupHealthy."""

from datetime import timedelta

from ccl_contract.backup import BackupReport
from ccl_operator import names
from tests.unit.operator.samples import SPEC, stamp

ID = "20300101T020000Z-0a1b2c"


def job_ended(cluster, name, kind="Complete"):
    condition = {
        "type": kind,
        "status": "True",
        "lastTransitionTime": stamp(cluster.now),
        "reason": "BackoffLimitExceeded",
    }
    job = {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "1",
            "labels": names.labels("ccl", names.BACKUP),
            "ownerReferences": [{"kind": "CronJob", "uid": "cron"}],
        },
        "status": {"conditions": [condition]},
    }
    cluster.objects[names.JOB, name] = job
    return job


def reported(cluster, name, **changes):
    told = {
        "id": ID,
        "stage": "prune",
        "ok": True,
        "size_bytes": 4096,
        "tables": 3,
        "rows": 20,
        "finished_at": cluster.now,
    }
    report = BackupReport.model_validate({**told, **changes})
    cluster.end_job_pod(job_ended(cluster, name), report.model_dump_json())


def test_before_the_first_backup_its_health_is_unknown(promoted):
    assert promoted.condition("BackupHealthy") == ("Unknown", "NoBackupYet")


def test_a_good_backup_is_remembered_with_its_place_and_size(promoted):
    reported(promoted, "ccl-backup-1")
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("True", "SameFailureDomain")
    told = promoted.status["backup"]
    assert told["location"] == f"pvc/ccl-backups/{ID}"
    assert told["lastSize"] == 4096
    assert told["lastSuccess"] == stamp(promoted.now)
    assert told["failures"] == 0


def test_a_backup_is_remembered_when_its_job_is_gone(promoted):
    reported(promoted, "ccl-backup-1")
    promoted.run()
    told = promoted.status["backup"]
    del promoted.objects[names.JOB, "ccl-backup-1"]
    before = promoted.writes
    promoted.run()
    assert promoted.status["backup"] == told
    assert promoted.writes == before


def test_two_backups_that_end_in_one_second_are_counted_once_each(promoted):
    reported(promoted, "ccl-backup-1")
    reported(promoted, "ccl-backup-2")
    promoted.run()
    before = promoted.writes
    promoted.run()
    promoted.run()
    assert promoted.writes == before


def test_a_failed_backup_names_the_stage_and_counts_once(promoted):
    reported(promoted, "ccl-backup-1", ok=False, stage="read-back", message="the dump is cut off")
    promoted.run()
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("False", "BackupFailed")
    assert "read-back: the dump is cut off" in promoted.condition_message("BackupHealthy")
    assert promoted.status["backup"]["failures"] == 1
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.events[-1].reason == "BackupFailed"


def test_a_good_backup_after_failures_ends_them(promoted):
    reported(promoted, "ccl-backup-1", ok=False, stage="dump")
    promoted.run()
    promoted.now += timedelta(hours=24)
    reported(promoted, "ccl-backup-2")
    promoted.run()
    assert promoted.condition("BackupHealthy")[0] == "True"
    assert promoted.status["backup"]["failures"] == 0


def test_a_job_whose_report_is_still_on_its_way_is_waited_for(promoted):
    job = job_ended(promoted, "ccl-backup-1")
    result = promoted.reconcile()
    assert promoted.condition("BackupHealthy") == ("Unknown", "NoBackupYet")
    assert result.requeue_at == promoted.now + timedelta(seconds=30)
    report = BackupReport.model_validate({"id": ID, "stage": "prune", "ok": True})
    promoted.end_job_pod(job, report.model_dump_json())
    promoted.reconcile()
    assert promoted.condition("BackupHealthy")[0] == "True"


def test_a_job_that_left_no_report_makes_the_health_unknown_with_the_jobs_reason(promoted):
    job_ended(promoted, "ccl-backup-1", "Failed")
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("Unknown", "BackupUnreported")
    assert "BackoffLimitExceeded" in promoted.condition_message("BackupHealthy")
    assert promoted.status["backup"]["failures"] == 1


def test_a_server_without_a_backup_image_is_told(promoted):
    promoted.owner["status"]["database"]["versionNum"] = 150004
    promoted.answers[SPEC["image"]] = lambda _: None
    promoted.reconcile()
    assert promoted.condition("BackupHealthy") == ("False", "NoBackupImage")


def test_what_a_good_report_has_to_say_beside_is_told(promoted):
    reported(promoted, "ccl-backup-1", message="2 old sets could not be removed")
    promoted.run()
    assert promoted.condition("BackupHealthy")[0] == "True"
    assert "2 old sets could not be removed" in promoted.condition_message("BackupHealthy")


def test_a_night_without_a_backup_turns_the_health_false_half_a_day_later(promoted):
    reported(promoted, "ccl-backup-1")
    promoted.run()
    promoted.now = promoted.now.replace(hour=14, minute=0)
    promoted.reconcile()
    assert promoted.condition("BackupHealthy") == ("True", "SameFailureDomain")
    promoted.now += timedelta(minutes=31)
    promoted.reconcile()
    assert promoted.condition("BackupHealthy") == ("False", "BackupOverdue")
    assert "0 2 * * *" in promoted.condition_message("BackupHealthy")
    assert promoted.events[-1].reason == "BackupOverdue"


def test_the_moment_of_the_alarm_is_asked_for(promoted):
    reported(promoted, "ccl-backup-1")
    promoted.run()
    assert promoted.reconcile().requeue_at == promoted.now.replace(hour=14, minute=30, second=0)


def test_a_first_backup_that_never_came_is_overdue_too(promoted):
    promoted.now += timedelta(days=2)
    promoted.reconcile()
    assert promoted.condition("BackupHealthy") == ("False", "BackupOverdue")


def test_a_failure_stays_told_when_the_next_backup_is_overdue(promoted):
    reported(promoted, "ccl-backup-1", ok=False, stage="dump")
    promoted.run()
    promoted.now += timedelta(days=3)
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("False", "BackupFailed")


def test_the_alarm_ends_with_a_backup_or_when_the_schedule_is_suspended(promoted):
    reported(promoted, "ccl-backup-1")
    promoted.run()
    promoted.now += timedelta(days=3)
    promoted.run()
    promoted.change(backup={**SPEC["backup"], "suspend": True})
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("True", "SameFailureDomain")
    promoted.change(backup=SPEC["backup"])
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("False", "BackupOverdue")
    reported(promoted, "ccl-backup-2")
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("True", "SameFailureDomain")


def test_without_a_schedule_the_health_is_unknown_and_says_so(promoted):
    promoted.change(backup=None)
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("Unknown", "NotAskedFor")
    promoted.change(backup=SPEC["backup"])
    promoted.run()
    assert promoted.condition("BackupHealthy") == ("Unknown", "NoBackupYet")
