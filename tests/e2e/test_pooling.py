"""The service behind PgBouncer: the demo's object has one, so all other tests here go through it too."""

from tests.e2e.system import Deployed, until

POOLER = {"app.kubernetes.io/component": "pgbouncer"}


def test_a_pooler_pod_that_goes_costs_no_request(ccl: Deployed) -> None:
    first, *_ = sorted(pod["metadata"]["name"] for pod in ccl.list("pods", **POOLER))
    with ccl.traffic() as traffic:
        ccl.system.kubectl("delete", "pod", first, "-n", ccl.namespace, "--wait=true", timeout=120)
        totals = traffic.settled()
    assert (totals["failed"], totals["errors"]) == (0, [])


def test_a_changed_pooler_setting_arrives_without_a_restart(ccl: Deployed) -> None:
    before = pods(ccl)
    revision = ccl.get()["status"]["stable"]["revision"]
    ccl.patch({"database": {"pooler": {"maxClientConnections": 432}}})

    def reloaded() -> bool:
        return all("RELOAD" in logs(ccl, pod) for pod in before)

    until("every pooler has read its configuration again", reloaded, 240)
    assert pods(ccl) == before
    assert ccl.get()["status"]["stable"]["revision"] == revision


def pods(ccl: Deployed) -> dict[str, int]:
    """Name → restarts of the pooler's pods."""
    found = ccl.list("pods", **POOLER)
    return {
        pod["metadata"]["name"]: sum(each["restartCount"] for each in pod["status"]["containerStatuses"])
        for pod in found
        if "deletionTimestamp" not in pod["metadata"]
    }


def logs(ccl: Deployed, pod: str) -> str:
    """What PgBouncer and its supervisor have said."""
    return ccl.system.kubectl("logs", pod, "-n", ccl.namespace, "-c", "pgbouncer")
