"""Services and the PodDisruptionBudget of the web pods. Pure; which revision they mean is ``plan``'s business."""

from typing import Any

from ccl_operator import names
from ccl_operator.manifests.meta import Target, child


def service(target: Target, name: str, revision: str | None) -> dict[str, Any]:
    """A Service of one revision's web pods; None selects no pod."""
    body = {
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(target.instance, names.WEB, revision or names.NO_REVISION),
            "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
        }
    }
    return child(names.SERVICE, target, name, body, component=names.WEB)


def disruption_budget(target: Target, revision: str, *, replicas: int) -> dict[str, Any] | None:
    """Let one pod be away at a time. None below 2 replicas: there a budget either protects nothing or blocks every
    node drain. Source: kubernetes.io, "Specifying a Disruption Budget for your Application"."""
    if replicas < 2:
        return None
    body = {
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(target.instance, names.WEB, revision)},
        }
    }
    name = names.web(target.instance, revision)
    return child(names.DISRUPTION_BUDGET, target, name, body, component=names.WEB, revision=revision)
