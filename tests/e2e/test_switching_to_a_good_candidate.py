"""A candidate that proves itself takes over without a failed request; its jobs start only with the switch. So does the
revision of before, when the specification goes back."""

from tests.e2e.system import Deployed, until

REVISION = "ccl.completecarloans.com/revision"
JOBS = {"app.kubernetes.io/component": "jobs"}


def test_no_request_fails_on_the_way_and_back_and_the_new_jobs_wait_for_the_switch(ccl: Deployed) -> None:
    before = ccl.get()["status"]["stable"]["revision"]
    early: list[str] = []

    def switched() -> bool:
        # In this order: jobs that were seen running must find the traffic moved already.
        deployments = ccl.list("deployments", **JOBS)
        service = ccl.system.kubectl.get(ccl.namespace, "service", ccl.name)
        stable = service["spec"]["selector"][REVISION]
        for deployment in deployments:
            revision = deployment["metadata"]["labels"][REVISION]
            if revision not in {before, stable} and deployment["spec"]["replicas"]:
                early.append(deployment["metadata"]["name"])
        return stable != before and bool(ccl.get()["status"]["stable"]["revision"] != before)

    with ccl.traffic(rate=200) as traffic:
        ccl.patch({"web": {"extraEnv": [{"name": "FEATURE_COLOUR", "value": "green"}]}})
        until("the candidate is stable", switched, 300)
        after = ccl.get()["status"]["stable"]["revision"]
        until("the old revision's pods are gone", lambda: not ccl.list("pods", **{REVISION: before}), 180)
        ccl.patch({"web": {"extraEnv": None}})
        until("the first revision is back", lambda: ccl.get()["status"]["stable"]["revision"] == before, 300)
        until("the other's pods are gone", lambda: not ccl.list("pods", **{REVISION: after}), 180)
        totals = traffic.settled()
    assert early == []
    assert (totals["failed"], totals["errors"]) == (0, [])
    assert set(totals["revisions"]) == {before, after}
    running = {d["metadata"]["labels"][REVISION]: d["spec"]["replicas"] for d in ccl.list("deployments", **JOBS)}
    assert running == {before: 1}
