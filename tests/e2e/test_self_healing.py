"""Children come back, and an operator with nothing to do writes nothing."""

import json

from tests.e2e.system import Deployed, until


def test_a_deleted_child_comes_back(ccl: Deployed) -> None:
    kubectl, namespace = ccl.system.kubectl, ccl.namespace
    old = kubectl.get(namespace, "service", ccl.name)["metadata"]["uid"]
    kubectl("delete", "service", ccl.name, "-n", namespace)

    def back() -> bool:
        done = kubectl.attempt("get", "service", ccl.name, "-n", namespace, "-o", "jsonpath={.metadata.uid}")
        return done.returncode == 0 and done.stdout not in {"", old}

    until("the Service is back", back, 30)


def test_an_edited_child_is_put_right_and_foreign_fields_stay(ccl: Deployed) -> None:
    kubectl, namespace = ccl.system.kubectl, ccl.namespace
    kubectl("annotate", "service", ccl.name, "-n", namespace, "example.com/owner=platform")
    stable = kubectl.get(namespace, "service", ccl.name)["spec"]["selector"]
    elsewhere = json.dumps({"spec": {"selector": {"app.kubernetes.io/component": "nowhere"}}})
    kubectl("patch", "service", ccl.name, "-n", namespace, "-p", elsewhere)
    until("the selector is back", lambda: kubectl.get(namespace, "service", ccl.name)["spec"]["selector"] == stable, 30)
    annotations = kubectl.get(namespace, "service", ccl.name)["metadata"]["annotations"]
    assert annotations["example.com/owner"] == "platform"


def test_a_restarted_operator_with_nothing_to_do_writes_nothing(ccl: Deployed) -> None:
    kubectl = ccl.system.kubectl
    before = ccl.system.operator_writes(ccl.namespace)
    assert before, "the audit log shows the operator's earlier writes"
    kubectl("rollout", "restart", "deployment/ccl-operator", "-n", "ccl-system")
    kubectl("rollout", "status", "deployment/ccl-operator", "-n", "ccl-system", "--timeout=120s")
    # Proof that the new process has seen the object: it repairs a child, and that is its only write.
    assert ccl.system.operator_writes(ccl.namespace) == before
    kubectl("delete", "pdb", "-n", ccl.namespace, "-l", "app.kubernetes.io/component=web")
    until("the budget is back", lambda: ccl.list("pdb", **{"app.kubernetes.io/component": "web"}), 60)
    after = ccl.system.operator_writes(ccl.namespace)[len(before) :]
    assert [write.split("/")[0] for write in after] == ["patch poddisruptionbudgets"]
