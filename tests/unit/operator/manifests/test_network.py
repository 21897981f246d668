"""Services and disruption budgets."""

from ccl_operator import names
from ccl_operator.manifests.meta import Target
from ccl_operator.manifests.network import disruption_budget, service

TARGET = Target("ccl", "loans", "uid")


def test_a_service_selects_one_revisions_web_pods():
    selector = service(TARGET, "ccl", "0123456789")["spec"]["selector"]
    assert selector == {
        names.INSTANCE_LABEL: "ccl",
        names.COMPONENT_LABEL: "web",
        names.REVISION_LABEL: "0123456789",
    }


def test_a_service_without_a_revision_selects_no_pod():
    assert service(TARGET, "ccl", None)["spec"]["selector"][names.REVISION_LABEL] == "none"


def test_a_service_leads_from_port_80_to_the_port_named_http():
    (port,) = service(TARGET, "ccl", None)["spec"]["ports"]
    assert (port["port"], port["targetPort"], port["protocol"]) == (80, "http", "TCP")


def test_two_replicas_let_one_pod_be_away():
    budget = disruption_budget(TARGET, "0123456789", replicas=2)
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"][names.REVISION_LABEL] == "0123456789"


def test_one_replica_gets_no_budget():
    assert disruption_budget(TARGET, "0123456789", replicas=1) is None
