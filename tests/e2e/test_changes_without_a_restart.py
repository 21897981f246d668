"""What changes under running pods: rotated keys, settings of the pooler, a pooler pod that goes.

The demo's object has a pooler, so all other tests here go through it too.
"""

import base64
import json

from tests.e2e.system import Deployed, until

INSTANCE = {"app.kubernetes.io/managed-by": "ccl-operator"}
POOLER = {"app.kubernetes.io/component": "pgbouncer"}


def test_a_pooler_pod_that_goes_costs_no_request(ccl: Deployed) -> None:
    first, *_ = sorted(pod["metadata"]["name"] for pod in ccl.list("pods", **POOLER))
    with ccl.traffic() as traffic:
        ccl.system.kubectl("delete", "pod", first, "-n", ccl.namespace, "--wait=true", timeout=120)
        totals = traffic.settled()
    assert (totals["failed"], totals["errors"]) == (0, [])


def test_keys_are_rotated_and_the_pooler_is_set_anew_without_a_restart_or_a_failed_request(ccl: Deployed) -> None:
    before, poolers, keys = restarts(ccl), list(restarts(ccl, **POOLER)), current_ids(ccl)
    with ccl.traffic() as traffic:
        order = {"secrets": {"rotate": "today"}, "database": {"pooler": {"maxClientConnections": 432}}}
        ccl.patch(order)
        until("new keys sign", lambda: not set(keys.values()) & set(current_ids(ccl).values()), 360)
        until(
            "every pooler has read its settings again", lambda: all("RELOAD" in logs(ccl, pod) for pod in poolers), 240
        )
        totals = traffic.settled()
    assert restarts(ccl) == before
    assert (totals["failed"], totals["errors"]) == (0, [])


def restarts(ccl: Deployed, **labels: str) -> dict[str, int]:
    """Name → restarts of the pods that run on."""
    return {
        pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
        for pod in ccl.list("pods", **{**INSTANCE, **labels})
        if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
    }


def current_ids(ccl: Deployed) -> dict[str, str]:
    """Key file → id of the key that signs."""
    data = ccl.system.kubectl.get(ccl.namespace, "secret", f"{ccl.name}-keys")["data"]
    files = {name: json.loads(base64.b64decode(text)) for name, text in data.items() if name.endswith(".json")}
    return {name: next(k["id"] for k in file["keys"] if k["state"] == "current") for name, file in files.items()}


def logs(ccl: Deployed, pod: str) -> str:
    """What PgBouncer and its supervisor have said."""
    return ccl.system.kubectl("logs", pod, "-n", ccl.namespace, "-c", "pgbouncer")
