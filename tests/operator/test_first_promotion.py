"""From an applied CclDeployment to a promoted one."""

from ccl_operator import names
from ccl_operator.runtime.rbac import EVENT
from tests.operator.conftest import Place
from tests.operator.operator_process import until


def test_an_applied_object_leads_to_its_children_and_a_promotion(place: Place) -> None:
    place.start_operator()
    place.create(
        autoscaling={"max": 3},
        http={"host": "loans.example.com", "ingressClassName": "nginx"},
        networkPolicy={},
    )
    place.promote()
    wanted = {resource.kind for resource in names.CHILDREN if resource not in names.READ_ONLY + names.OPTIONAL}
    until("every kind is there", lambda: {kind for kind, _ in place.children()} == wanted)


def test_the_very_first_write_is_the_status(place: Place) -> None:
    place.start_operator()
    place.create()
    until("the first children are there", place.children)
    assert place.writes()[0] == "patch ccldeployments/ccl"


def test_each_child_of_a_new_object_is_written_once_until_the_rollout_changes_it(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    writes = place.writes()
    revision = place.owner()["status"]["stable"]["revision"]
    # Services follow the candidate and then the switch, the jobs come up with it; all else has one form for good.
    moving = {"services/ccl", "services/ccl-preview", f"deployments/ccl-jobs-{revision}", "ccldeployments/ccl"}
    steady = [write.removeprefix("patch ") for write in writes if write.removeprefix("patch ") not in moving]
    assert len(steady) == len(set(steady))
    # Made for the candidate, and let go when that has become the stable one.
    assert writes.count("patch services/ccl-preview") == 2


def test_a_promotion_is_told_in_events(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()

    def reasons() -> set[str]:
        return {event["reason"] for event in place.api.list(EVENT, place.namespace)}

    until("the events are posted", lambda: {"RolloutStarted", "Promoted"} <= reasons())


def test_a_candidate_with_a_failing_check_gets_no_traffic_and_the_condition_names_the_check(place: Place) -> None:
    place.start_operator()
    place.create()
    place.promote()
    stable = place.owner()["status"]["stable"]["revision"]
    place.hand.checks = lambda revision: [
        {"id": "QueueDrains", "status": "pass" if revision == stable else "fail", "message": "the queue is stuck"}
    ]
    place.api.patch(
        names.OWNER,
        place.namespace,
        "ccl",
        {"spec": {"image": "registry.example/ccl-service:2", "promotion": {"deadline": "60s"}}},
    )

    def aborted() -> bool:
        place.hand.step()
        return place.condition("Stalled").get("reason") == "QueueDrains"

    until("the candidate is aborted", aborted, timeout=60)
    service = place.api.get(names.SERVICE, place.namespace, names.stable_service("ccl"))
    assert service["spec"]["selector"][names.REVISION_LABEL] == stable
    assert place.is_true("Ready")
    assert place.condition("Promoted")["status"] == "False"
