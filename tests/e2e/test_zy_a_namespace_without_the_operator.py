"""The operator goes first and the namespace after it: nothing of ours may hold it back."""

from tests.e2e.system import Deployed, until

OPERATOR = ("deployment/ccl-operator", "-n", "ccl-system")


def test_a_namespace_goes_when_the_operator_is_gone_already(first: Deployed) -> None:
    kubectl = first.system.kubectl
    replicas = kubectl("get", *OPERATOR, "-o", "jsonpath={.spec.replicas}")
    kubectl("scale", *OPERATOR, "--replicas=0")
    try:
        running = ("pods", "-l", "app.kubernetes.io/name=ccl-operator")
        until("the operator is gone", lambda: not kubectl.get("ccl-system", *running)["items"])
        kubectl("delete", "namespace", first.namespace, "--timeout=120s", timeout=150)
    finally:
        kubectl("scale", *OPERATOR, f"--replicas={replicas}")
