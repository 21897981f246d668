"""The rules inside the reconcile; the same cases run against a real API server in tests/operator/api."""

import pytest

from ccl_operator.api.rules import RULES, violations
from ccl_operator.api.v1alpha1 import SpecRefused, parse_spec
from tests.unit.operator.api.rule_cases import CASES, GOOD, changed


def judged(name, changes):
    return violations(name, parse_spec({"spec": changed(GOOD, changes)}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_check_inside_the_reconcile_accepts_what_the_rule_allows(case):
    assert judged(case.name_accepted, case.accepted) == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_check_inside_the_reconcile_names_the_rule_that_is_broken(case):
    broken = judged(case.name_refused, case.refused)
    assert len(broken) == 1
    assert case.rule in broken[0]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("backup.schedule must be", {"backup.schedule": "0 2 30 2 *"}),
        ("backup.schedule must be", {"backup.schedule": "0 6-2 * * *"}),
        ("backup.timeZone must be", {"backup.timeZone": "America/Springfield"}),
        ("backup.timeZone must be", {"backup.timeZone": "Local"}),
    ],
)
def test_the_check_inside_the_reconcile_knows_what_no_pattern_can_say(rule, changes):
    (broken,) = judged("ccl", changes)
    assert rule in broken


def test_every_rule_that_needs_one_object_only_has_a_case():
    messages = [rule.message for rule in RULES if rule.holds is not None]
    assert [text for text in messages if not any(case.rule in text for case in CASES)] == []


def test_messages_of_rules_are_unique():
    assert len({rule.message for rule in RULES}) == len(RULES)


def test_a_spec_of_the_wrong_shape_is_refused_with_the_path_and_without_the_value():
    with pytest.raises(SpecRefused) as refused:
        parse_spec({"spec": changed(GOOD, {"replicas": "hunter2", "database.embedded.version": 9})})
    assert len(refused.value.problems) == 2
    assert "spec.replicas: " in str(refused.value)
    assert "hunter2" not in str(refused.value)
