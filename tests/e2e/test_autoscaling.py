"""The cluster's own autoscaler sets the number of web pods, through the scale subresource."""

from tests.e2e.system import Deployed, until


def test_the_autoscaler_asks_for_its_minimum_and_gets_it_without_a_new_revision(ccl: Deployed) -> None:
    stable = ccl.get()["status"]["stable"]["revision"]
    assert ccl.get()["spec"]["replicas"] == 2

    ccl.patch({"autoscaling": {"min": 3, "max": 4}})

    until("the autoscaler asks for three pods", lambda: ccl.get()["spec"]["replicas"] == 3)
    until("three pods are ready", lambda: ccl.get()["status"]["readyReplicas"] == 3)
    autoscaler = ccl.system.kubectl.get(ccl.namespace, "horizontalpodautoscaler", ccl.name)
    conditions = {found["type"]: found["status"] for found in autoscaler["status"]["conditions"]}
    assert conditions["AbleToScale"] == "True"
    assert ccl.get()["status"]["stable"]["revision"] == stable
    assert ccl.wait_condition("Ready", "True")
