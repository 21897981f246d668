"""Where the API server keeps refusing a write for the moment, the object says so, and goes on when it is over."""

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.runtime.client import path
from ccl_operator.runtime.rbac import EVENT
from tests.operator.conftest import Place
from tests.operator.operator_process import until

WEBHOOK = Resource(
    "admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration"
)


def _break_services(place: Place) -> None:
    """Every write of a Service in this namespace asks somebody who does not answer."""
    hook = {
        "name": "nobody.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/judge"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["services"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}},
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    place.api.create(WEBHOOK, None, {"metadata": {"name": place.namespace}, "webhooks": [hook]})


def test_a_webhook_that_fails_is_told_after_a_while_and_forgotten_when_it_is_gone(place: Place) -> None:
    operator = place.start_operator()
    _break_services(place)
    place.create()
    until("it is told", lambda: place.condition("Reconciling").get("reason") == "ApiError", timeout=60)
    message = place.condition("Reconciling")["message"]
    assert "nobody.example.com" in message
    assert place.owner()["status"]["message"] == message
    assert operator.metric("ccl_operator_interrupted_objects") == 1
    until("an event says it", lambda: any(each["reason"] == "ApiError" for each in _events(place)))
    place.api.call("DELETE", path(WEBHOOK, None, place.namespace))
    place.promote()
    assert place.condition("Reconciling")["reason"] != "ApiError"
    assert operator.metric("ccl_operator_interrupted_objects") == 0


def _events(place: Place) -> list[dict[str, str]]:
    return [each for each in place.api.list(EVENT, place.namespace) if each["regarding"]["kind"] == names.OWNER.kind]
