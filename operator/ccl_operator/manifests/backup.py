"""The backup CronJob and its volume. Pure; what a backup is belongs to the ``backup`` package that the Job runs."""

from collections.abc import Mapping
from typing import Any, Final

from ccl_operator import names
from ccl_operator.api.v1alpha1 import Backup
from ccl_operator.api.values import canonical_bytes
from ccl_operator.api.workload import Template
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child

MOUNT: Final = "/backups"
#: A backup that could not start for ten minutes is left to the next time.
START_DEADLINE_SECONDS: Final = 600
RUN_DEADLINE_SECONDS: Final = 6 * 3600
RETRIES: Final = 2
KEPT_SECONDS: Final = 86_400
#: ``ccl-backup`` ends so when it was called wrongly: the next try would be no better.
WRONG_USAGE: Final = 2
#: Spelled as the API server stores it: the list is compared as a whole.
FAILURE_POLICY: Final[Mapping[str, Any]] = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "backup", "operator": "In", "values": [WRONG_USAGE]}},
    ]
}


def volume(target: Target, wanted: Backup, *, present_size: str | None) -> dict[str, Any]:
    """The claim that holds the backups; it outlives the object. One that is there keeps its size."""
    body = {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": present_size or canonical_bytes(wanted.destination.pvc.size)}},
        }
    }
    name = names.backups(target.instance)
    return child(names.VOLUME_CLAIM, target, name, body, component=names.BACKUP, kept=True)


def cron_job(target: Target, wanted: Backup, *, image: str, placed: Template) -> dict[str, Any]:
    """``ccl-backup dump`` at the wanted times. ``placed``: on which nodes."""
    source = {"secretKeyRef": {"name": names.direct(target.instance), "key": "DATABASE_URL"}}
    container = pods.container(
        "backup",
        image,
        command=["ccl-backup", "dump"],
        env=[
            {"name": "DATABASE_URL", "valueFrom": source},
            {"name": "BACKUP_DESTINATION", "value": f"file://{MOUNT}"},
            {"name": "BACKUP_KEEP_LAST", "value": str(wanted.retention.keep_last)},
        ],
        resources={"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        mounts=[{"name": "backups", "mountPath": MOUNT}],
    )
    volumes = [{"name": "backups", "persistentVolumeClaim": {"claimName": names.backups(target.instance)}}]
    labels = names.labels(target.instance, names.BACKUP)
    job = {
        "backoffLimit": RETRIES,
        "podFailurePolicy": dict(FAILURE_POLICY),
        "activeDeadlineSeconds": RUN_DEADLINE_SECONDS,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": {
            "metadata": {"labels": labels},
            "spec": pods.pod(
                pods.SERVICE_USER,
                [container],
                volumes,
                restartPolicy="Never",
                **pods.identity(target.instance, target.pulls),
                **pods.placement(placed),
            ),
        },
    }
    body = {
        "spec": {
            "schedule": wanted.schedule,
            "timeZone": wanted.time_zone,
            "suspend": wanted.suspend,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": START_DEADLINE_SECONDS,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
        }
    }
    return child(names.CRON_JOB, target, names.backup(target.instance), body, component=names.BACKUP)
