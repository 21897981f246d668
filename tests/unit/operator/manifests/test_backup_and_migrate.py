"""The Jobs: backups by the clock, a migration per attempt."""

import pytest

from ccl_operator import names
from ccl_operator.api.v1alpha1 import Backup
from ccl_operator.api.workload import Template
from ccl_operator.manifests import backup, migrate
from ccl_operator.manifests.meta import Target

TARGET = Target("ccl", "loans", "uid")
WANTED = Backup.model_validate(
    {
        "schedule": "0 2 * * *",
        "timeZone": "America/Chicago",
        "destination": {"pvc": {"size": "1024Mi"}},
        "retention": {"keepLast": 3},
        "suspend": True,
    }
)


def cron_spec():
    return backup.cron_job(TARGET, WANTED, image="backup:17", placed=Template())["spec"]


def test_backups_never_overlap_and_follow_the_wanted_clock():
    spec = cron_spec()
    assert spec["concurrencyPolicy"] == "Forbid"
    assert (spec["schedule"], spec["timeZone"], spec["suspend"]) == ("0 2 * * *", "America/Chicago", True)


def test_a_backup_has_deadlines_and_its_job_stays_for_a_day():
    spec = cron_spec()
    assert spec["startingDeadlineSeconds"] == 600
    job = spec["jobTemplate"]["spec"]
    assert job["ttlSecondsAfterFinished"] == 86_400
    assert job["activeDeadlineSeconds"] > 0


def test_an_evicted_backup_is_no_failed_try_and_a_wrong_call_is_not_repeated():
    ignored, ended = cron_spec()["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert (ended["action"], ended["onExitCodes"]["values"]) == ("FailJob", [2])


def test_a_backup_is_told_where_from_where_to_and_how_many():
    (container,) = cron_spec()["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["ccl-backup", "dump"]
    url, destination, keep = container["env"]
    assert url["valueFrom"]["secretKeyRef"] == {"name": "ccl-direct", "key": "DATABASE_URL"}
    assert destination["value"] == "file:///backups"
    assert keep["value"] == "3"


def test_a_job_made_by_hand_from_the_cron_job_carries_our_labels():
    assert cron_spec()["jobTemplate"]["metadata"]["labels"] == names.labels("ccl", names.BACKUP)


@pytest.mark.parametrize(("present", "wanted"), [(None, "1Gi"), ("5Gi", "5Gi")])
def test_a_backup_volume_that_is_there_keeps_its_size(present, wanted):
    built = backup.volume(TARGET, WANTED, present_size=present)
    assert built["spec"]["resources"]["requests"]["storage"] == wanted
    assert "ownerReferences" not in built["metadata"]


def test_a_migration_needs_only_the_databases_address_and_has_a_deadline():
    built = migrate.job(TARGET, "0123456789", "image:1", attempt=4, timeout_seconds=600, placed=Template())
    (container,) = built["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["ccl-service", "migrate"]
    assert [each["name"] for each in container["env"]] == [
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "DB_CONNECT_TIMEOUT_MS",
    ]
    assert "envFrom" not in container
    assert built["spec"]["activeDeadlineSeconds"] == 86_400 + 600
    assert built["metadata"]["labels"][names.ATTEMPT_LABEL] == "4"
