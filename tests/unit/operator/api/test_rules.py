"""The rules inside the reconcile; the same cases run against a real API server in tests/operator/api."""

import re

import pytest

from ccl_operator.api.rules import RULES, broken, violations
from ccl_operator.api.schema import structural
from ccl_operator.api.v1alpha1 import Spec, SpecRefused, parse_spec
from tests.unit.operator.api.rule_cases import CASES, GOOD, changed


def judged(name, changes):
    return violations(name, parse_spec({"spec": changed(GOOD, changes)}))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_check_inside_the_reconcile_accepts_what_the_rule_allows(case):
    assert judged(case.name_accepted, case.accepted) == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_the_check_inside_the_reconcile_names_the_rule_that_is_broken(case):
    found = judged(case.name_refused, case.refused)
    assert len(found) == 1
    assert case.rule in found[0]


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
    (found,) = judged("ccl", changes)
    assert rule in found


def test_each_variable_that_the_operator_sets_itself_is_named_at_its_place():
    variables = [{"name": name, "value": "1"} for name in ("PORT", "LOG_LEVEL", "CCL_ENV")]
    found = broken("ccl", parse_spec({"spec": changed(GOOD, {"web.extraEnv": variables})}))
    takes = "web.extraEnv takes any variable that the operator does not set itself; it sets"
    assert found == (
        (("spec", "web", "extraEnv", 0), f"{takes} PORT"),
        (("spec", "web", "extraEnv", 2), f"{takes} CCL_ENV"),
    )


def test_every_rule_that_needs_one_object_only_has_a_case():
    messages = [rule.message for rule in RULES if rule.holds is not None]
    assert [text for text in messages if not any(case.rule in text for case in CASES)] == []


def test_messages_of_rules_are_unique():
    assert len({rule.message for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("message", [rule.message for rule in RULES])
def test_the_message_of_a_rule_is_one_sentence_that_begins_with_the_field_and_says_what_is_allowed(message):
    field, _, rest = message.partition(" ")
    assert field == "metadata.name" or field_of_the_specification(field)
    assert re.search(r"\b(must|needs?|requires|takes|cannot)\b", rest)
    assert not re.search(r"[.] [A-Z]|[.!]$", message)
    assert len(message) <= 200


def field_of_the_specification(path):
    place = structural(Spec)
    for step in path.split("."):
        place = place.get("properties", {}).get(step)
        if place is None:
            return False
    return True


def test_a_text_without_its_form_is_told_in_words():
    with pytest.raises(SpecRefused) as refused:
        parse_spec({"spec": changed(GOOD, {"image": "hunter2 x", "web.template": {"nodeSelector": {"a": "-"}}})})
    assert refused.value.problems == (
        "spec.image: must be an image reference, such as registry.example/ccl-service:1.4.0,"
        " perhaps with @sha256: and 64 hex digits",
        "spec.web.template.nodeSelector.a: must be letters, digits, -, _ and ., with a letter or digit at both ends",
    )


def test_a_spec_of_the_wrong_shape_is_refused_with_the_path_and_without_the_value():
    with pytest.raises(SpecRefused) as refused:
        parse_spec({"spec": changed(GOOD, {"replicas": "hunter2", "database.embedded.version": 9})})
    assert len(refused.value.problems) == 2
    assert "spec.replicas: " in str(refused.value)
    assert "hunter2" not in str(refused.value)
