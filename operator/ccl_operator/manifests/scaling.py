"""The HorizontalPodAutoscaler of the web pods. Pure.

It scales the CclDeployment itself, through its scale subresource: the operator always renders ``replicas`` of the
Deployments, and a promotion changes the pods without the autoscaler's knowledge.
"""

from typing import Any

from ccl_operator import names
from ccl_operator.api.workload import Autoscaling
from ccl_operator.manifests.meta import Target, child


def autoscaler(target: Target, wanted: Autoscaling) -> dict[str, Any]:
    """By the use of the requested CPU."""
    use = {"type": "Utilization", "averageUtilization": wanted.target_cpu_percent}
    owner = {"apiVersion": names.OWNER.api_version, "kind": names.OWNER.kind, "name": target.instance}
    body = {
        "spec": {
            "scaleTargetRef": owner,
            "minReplicas": wanted.min,
            "maxReplicas": wanted.max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": use}}],
        }
    }
    return child(names.AUTOSCALER, target, target.instance, body, component=names.WEB)
