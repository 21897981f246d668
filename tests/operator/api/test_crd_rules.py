"""The CEL rules and the schema on a real API server: accepted and refused, quoting the message."""

import pytest

from ccl_operator.api.rules import RULES
from ccl_operator.api.v1alpha1 import parse_spec
from tests.unit.operator.api.rule_cases import CASES, GOOD, REMOVED, SELECTOR, changed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_api_server_accepts_what_the_rule_allows(rest, case):
    code, answer = rest.create(case.name_accepted, changed(GOOD, case.accepted))
    assert code == 201, answer["message"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_api_server_quotes_the_rule_that_is_broken(rest, case):
    code, answer = rest.create(case.name_refused, changed(GOOD, case.refused))
    assert code == 422
    assert case.rule in answer["message"]


URL = {"database": {"urlFrom": {"secretKeyRef": SELECTOR}}}
TRANSITIONS = [
    ("database cannot change between", {"database.pool": {"size": 5}}, URL),
    ("database.embedded cannot change", {"replicas": 1}, {"database.embedded.version": 16}),
    ("database.embedded cannot change", {"image": "other:2"}, {"database.embedded.storage": "2Gi"}),
    (
        "backup.destination.pvc.size cannot change",
        {"backup.schedule": "0 3 * * *"},
        {"backup.destination.pvc.size": "2Gi"},
    ),
]


@pytest.fixture(scope="module")
def existing(rest):
    code, answer = rest.create("existing", GOOD, dry_run=False)
    assert code == 201, answer
    return answer["metadata"]["resourceVersion"]


@pytest.mark.parametrize(("rule", "accepted", "refused"), TRANSITIONS)
def test_the_api_server_refuses_a_change_that_would_leave_data_behind(rest, existing, rule, accepted, refused):
    code, answer = rest.replace("existing", changed(GOOD, accepted), existing)
    assert code == 200, answer["message"]
    code, answer = rest.replace("existing", changed(GOOD, refused), existing)
    assert code == 422
    assert rule in answer["message"]


def test_every_transition_rule_is_tried():
    rules = [rule.message for rule in RULES if rule.holds is None]
    assert [text for text in rules if not any(each[0] in text for each in TRANSITIONS)] == []


REFUSED_FIELDS = [
    ("deletionPolicy", {"deletionPolicy": "Forget"}),
    ("environment", {"environment": "prod"}),
    ("replicas", {"replicas": -1}),
    ("migration.timeout", {"migration": {"timeout": "10 minutes"}}),
    ("resources.limits.memory", {"web.resources": {"limits": {"memory": "much"}}}),
    ("unknown field", {"autoscaler": {"max": 5}}),
    ("schedule", {"backup.schedule": REMOVED}),
    ("image", {"image": REMOVED}),
]


@pytest.mark.parametrize(("field", "refused"), REFUSED_FIELDS)
def test_the_api_server_refuses_a_field_of_the_wrong_shape_by_name(rest, field, refused):
    code, answer = rest.create("ccl", changed(GOOD, refused))
    assert code in {400, 422}
    assert field in answer["message"]


def test_the_defaults_of_the_api_server_are_those_of_the_models(rest):
    code, answer = rest.create("ccl", GOOD)
    assert code == 201
    assert parse_spec(answer) == parse_spec({"spec": GOOD})
    assert answer["spec"]["secrets"]["jwt"] == {"generate": True}
    assert answer["spec"]["web"]["resources"]["limits"] == {"memory": "512Mi"}
