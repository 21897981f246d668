"""What runs for the object and not for one of its revisions: the ServiceAccount, and the nightly upkeep. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from ccl_contract.keys import JWT
from ccl_operator import names
from ccl_operator.api.workload import ServiceAccount, Template
from ccl_operator.environment import KEYS_PATH
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child, encoded

#: Once a day, after a backup of two o'clock. ``ccl-service maintain`` bounds its own time at five minutes.
SCHEDULE: Final = "30 3 * * *"
START_DEADLINE_SECONDS: Final = 3600
RUN_DEADLINE_SECONDS: Final = 900
KEPT_SECONDS: Final = 86_400


def service_account(target: Target, wanted: ServiceAccount) -> dict[str, Any]:
    """The identity of the pods, for workload identity of a cloud; they get no token for the API server."""
    name = names.service_account(target.instance)
    built = child(names.SERVICE_ACCOUNT, target, name, {"automountServiceAccountToken": False})
    if wanted.annotations:
        built["metadata"]["annotations"] = dict(sorted(wanted.annotations.items()))
    return built


def secret(target: Target, values: Mapping[str, str]) -> dict[str, Any]:
    """What the Jobs of no revision read: the database's own address, and the JWT key where it is referenced. A Job may
    outlive the revision it was started under, and a retry takes the credentials of its own day."""
    body = {"type": "Opaque", "data": encoded(values)}
    return child(names.SECRET, target, names.direct(target.instance), body)


def cron_job(target: Target, *, image: str, jwt_generated: bool, placed: Template) -> dict[str, Any]:
    """``ccl-service maintain`` of the stable version, daily. ``placed``: on which nodes."""
    direct = names.direct(target.instance)
    env = [{"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": direct, "key": "DATABASE_URL"}}}]
    if jwt_generated:
        env.append({"name": "JWT_SECRET_FILE", "value": f"{KEYS_PATH}/{JWT}"})
    else:
        env.append({"name": "JWT_SECRET", "valueFrom": {"secretKeyRef": {"name": direct, "key": "JWT_SECRET"}}})
    container = pods.container(
        "maintain",
        image,
        command=["ccl-service", "maintain", "--json"],
        env=env,
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        mounts=pods.key_mounts()[:1],
    )
    labels = names.labels(target.instance, names.MAINTAIN)
    volumes = pods.key_volumes(target.instance)[:1]
    spec = pods.pod(
        pods.SERVICE_USER,
        [container],
        volumes,
        restartPolicy="Never",
        **pods.identity(target.instance, target.pulls),
        **pods.placement(placed),
    )
    job = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": RUN_DEADLINE_SECONDS,
        "ttlSecondsAfterFinished": KEPT_SECONDS,
        "template": {"metadata": {"labels": labels}, "spec": spec},
    }
    body = {
        "spec": {
            "schedule": SCHEDULE,
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": START_DEADLINE_SECONDS,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {"metadata": {"labels": labels}, "spec": job},
        }
    }
    return child(names.CRON_JOB, target, names.maintain(target.instance), body, component=names.MAINTAIN)
