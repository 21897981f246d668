"""What `make up` shows: one object becomes a promoted service, and a lead is won back on it."""

from tests.e2e.system import Deployed


def test_a_new_object_becomes_ready_and_promoted(ccl: Deployed) -> None:
    status = ccl.get()["status"]
    assert status["phase"] == "Ready"
    assert status["stable"]["image"] == ccl.system.images["ccl-service"]
    assert status["readyReplicas"] == 2


def test_kubectl_get_ccl_says_phase_image_and_ready_pods(ccl: Deployed) -> None:
    header, row = ccl.system.kubectl("get", "ccl", "-n", ccl.namespace).splitlines()
    assert header.split()[:2] == ["NAME", "PHASE"]
    assert row.split()[:2] == ["ccl", "Ready"]
    assert ccl.system.images["ccl-service"] in row


def test_a_lead_sent_from_a_pod_is_mailed_answers_in_the_chat_and_has_a_timeline(ccl: Deployed) -> None:
    story = ccl.program("story", "python", "-m", "hack.demo.story", "--run", ccl.get()["metadata"]["uid"][:8])
    assert "first contact received" in story
    assert "delivered" in story
    assert "engaged" in story
