"""The Job that migrates the database before a revision starts. Pure.

How long it may take once the database has answered is ``rollout``'s business.
"""

from typing import Any, Final

from ccl_operator import names
from ccl_operator.api.workload import Template
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child

#: One more try: a database that restarts just then must not cost the promotion.
RETRIES: Final = 1
KEPT_SECONDS: Final = 86_400
#: How long a database may be on its way. Nobody waits for this: a newer specification replaces a Job that waits.
ANSWER_SECONDS: Final = 86_400
#: ``migrate`` writes there first when the database has answered; ready then means: it may be changing the database.
ANSWERED: Final = ["test", "-s", "/dev/termination-log"]


def job(
    target: Target, revision: str, image: str, *, attempt: int, timeout_seconds: int, placed: Template
) -> dict[str, Any]:
    """``ccl-service migrate``; it needs only the database's address. Its report is in the termination message.

    ``attempt`` tells the Job of this rollout from one that an earlier rollout of the same revision has left.
    ``placed``: on which nodes.
    """
    secret = names.ext(target.instance, revision)
    url = {"secretKeyRef": {"name": secret, "key": "DATABASE_URL"}}
    direct = {"secretKeyRef": {"name": secret, "key": "DATABASE_DIRECT_URL", "optional": True}}
    container = pods.container(
        "migrate",
        image,
        command=["ccl-service", "migrate"],
        env=[
            {"name": "DATABASE_URL", "valueFrom": url},
            {"name": "DATABASE_DIRECT_URL", "valueFrom": direct},
            {"name": "DB_CONNECT_TIMEOUT_MS", "value": str(ANSWER_SECONDS * 1000)},
        ],
        readinessProbe={"exec": {"command": ANSWERED}, "periodSeconds": 2, "timeoutSeconds": 2},
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    )
    spec = pods.pod(
        pods.SERVICE_USER,
        [container],
        restartPolicy="Never",
        **pods.identity(target.instance, target.pulls),
        **pods.placement(placed),
    )
    template = {"metadata": {"labels": names.labels(target.instance, names.MIGRATE, revision)}, "spec": spec}
    body = {
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": ANSWER_SECONDS + timeout_seconds,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": template,
        }
    }
    name = names.migrate(target.instance, revision)
    built = child(names.JOB, target, name, body, component=names.MIGRATE, revision=revision)
    built["metadata"]["labels"][names.ATTEMPT_LABEL] = str(attempt)
    return built
