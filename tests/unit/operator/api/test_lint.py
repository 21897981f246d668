"""What ``lint`` says of a CclDeployment; tests/operator/api holds it against a real API server."""

import pytest

from ccl_operator import names
from ccl_operator.api.lint import is_ours, lint
from tests.unit.operator.api.rule_cases import CASES, GOOD, REMOVED, changed


def manifest(changes=None, name="ccl", **metadata):
    return {
        "apiVersion": names.OWNER.api_version,
        "kind": names.OWNER.kind,
        "metadata": {"name": name, **metadata},
        "spec": changed(GOOD, changes or {}),
    }


def said(found):
    return [f"{finding.path}: {finding.message}" for finding in lint(found)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_a_rule_allows_has_no_finding(case):
    assert said(manifest(case.accepted, case.name_accepted)) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_a_rule_refuses_is_found_where_the_rule_stands(case):
    (found,) = lint(manifest(case.refused, case.name_refused))
    assert case.rule in found.message
    assert found.place[0] in {"spec", "metadata"}


SHAPES = {
    "misspelt": ({"replica": 2}, "spec.replica: is not a field; did you mean replicas?"),
    "other case": ({"http.corsorigins": []}, "spec.http.corsorigins: is not a field; did you mean corsOrigins?"),
    "snake case": ({"network_policy": {}}, "spec.network_policy: is not a field; did you mean networkPolicy?"),
    "other place": ({"corsOrigins": []}, "spec.corsOrigins: is not a field here; there is spec.http.corsOrigins"),
    "unlike any": ({"migration.qq": 1}, "spec.migration.qq: is not a field; spec.migration has timeout"),
    "below nothing": (
        {"environment": "staging", "sessions": {"redis": {"embedded": {"qq": 1}}}},
        "spec.sessions.redis.embedded.qq: is not a field; spec.sessions.redis.embedded has template",
    ),
    "text for a number": ({"replicas": "1"}, "spec.replicas: must be an integer, not a string"),
    "a fraction": ({"replicas": 1.5}, "spec.replicas: must be an integer, not a number"),
    "a boolean for a number": ({"replicas": True}, "spec.replicas: must be an integer, not a boolean"),
    "a number for a boolean": ({"paused": 1}, "spec.paused: must be a boolean, not an integer"),
    "a number for text": (
        {"web.resources": {"requests": {"cpu": 1}}},
        "spec.web.resources.requests.cpu: must be a string, not an integer: put it in quotes",
    ),
    "text for a list": ({"http.corsOrigins": "https://a"}, "spec.http.corsOrigins: must be a list, not a string"),
    "a list for an object": ({"promotion": []}, "spec.promotion: must be an object, not a list"),
    "null in a list": (
        {"web.extraEnv": [None]},
        "spec.web.extraEnv[0]: must be an object, not null",
    ),
    "no member of the set": (
        {"environment": "hunter2"},
        "spec.environment: must be one of development, staging, production",
    ),
    "no match": (
        {"migration": {"timeout": "hunter2"}},
        "spec.migration.timeout: must be a duration of whole numbers with ms, s, m, h or d, such as 90s, 1h30m or 90d",
    ),
    "a match and a new line": (
        {"migration": {"timeout": "5m\n"}},
        "spec.migration.timeout: must be a duration of whole numbers with ms, s, m, h or d, such as 90s, 1h30m or 90d",
    ),
    "too many": ({"replicas": 101}, "spec.replicas: must be at least 1 and at most 100"),
    "too long": ({"secrets.rotate": "x" * 65}, "spec.secrets.rotate: must have at most 64 characters"),
    "too many entries": (
        {"imagePullSecrets": [{"name": "a"}] * 11},
        "spec.imagePullSecrets: must have at most 10 entries",
    ),
    "missing": ({"backup.schedule": REMOVED}, "spec.backup.schedule: is missing"),
    "null where it is needed": ({"backup.schedule": None}, "spec.backup.schedule: is missing"),
    "a key in brackets": (
        {"web.template": {"labels": {"example.com/a": "?"}}},
        "spec.web.template.labels[example.com/a]: must be letters, digits, -, _ and .,"
        " with a letter or digit at both ends",
    ),
}


@pytest.mark.parametrize(("changes", "wanted"), SHAPES.values(), ids=SHAPES)
def test_a_wrong_shape_is_told_with_the_path_and_what_is_allowed(changes, wanted):
    assert said(manifest(changes)) == [wanted]


def test_null_counts_as_absent():
    assert said(manifest({"replicas": None, "autoscaling": None, "web": None})) == []


def test_every_finding_of_one_object_is_told_at_once_shape_first():
    found = lint(manifest({"secrets.rotateAfter": "1h", "replica": 1, "paused": "true"}))
    assert [finding.path for finding in found] == ["spec.replica", "spec.paused", "spec.secrets"]


def test_rules_see_only_fields_that_the_api_server_would_keep():
    found = said(manifest({"http": {"cors_origins": ["https://a.example"]}}))
    assert found == [
        "spec.http.cors_origins: is not a field; did you mean corsOrigins?",
        "spec: environment production requires http.corsOrigins",
    ]


def test_no_finding_quotes_a_value():
    secret = "hunter2 hunter2"
    found = said(
        manifest(
            {
                "image": secret,
                "environment": secret,
                "replicas": secret,
                "web.extraEnv": [{"name": secret, "value": 5}],
                "secrets.jwt": {"secretKeyRef": {"name": secret, "key": secret}},
            }
        )
    )
    assert len(found) == 7
    assert "hunter2" not in "".join(found)


def test_a_misspelt_group_or_version_is_found():
    assert said(manifest() | {"apiVersion": "ccl.completecarloans.com/v1"}) == [
        "apiVersion: must be ccl.completecarloans.com/v1alpha1"
    ]
    assert is_ours(manifest() | {"apiVersion": "ccl.completecarloan.com/v1alpha1"})


def test_a_misspelt_kind_of_the_group_is_found():
    found = manifest() | {"kind": "CCLDeployment"}
    assert is_ours(found)
    assert said(found) == ["kind: must be CclDeployment"]


def test_objects_of_others_are_not_ours():
    assert not is_ours({"apiVersion": "v1", "kind": "Secret"})


def test_an_object_without_a_name_is_found():
    assert said(manifest() | {"metadata": {}}) == ["metadata.name: is missing"]


def test_a_generated_name_is_judged_with_what_is_put_behind():
    assert said(manifest() | {"metadata": {"generateName": "ccl-"}}) == []
    (found,) = lint(manifest() | {"metadata": {"generateName": "a" * 36}})
    assert "metadata.name must match" in found.message


def test_a_namespace_that_cannot_be_is_told_in_words():
    assert said(manifest(namespace="Loans")) == [
        "metadata.namespace: must be lower case letters, digits and -, with a letter or digit at both ends"
    ]


def test_metadata_has_its_own_fields():
    assert said(manifest(lables={}, annotations={"a": 1})) == [
        "metadata.lables: is not a field; did you mean labels?",
        "metadata.annotations.a: must be a string, not an integer: put it in quotes",
    ]


def test_the_status_of_a_stored_object_is_left_alone():
    assert said(manifest() | {"status": {"phase": "Ready", "old": 1}}) == []


@pytest.mark.parametrize("spec", [None, [], "x"])
def test_an_object_without_a_specification_is_found(spec):
    assert [finding.path for finding in lint(manifest() | {"spec": spec})] == ["spec"]


def test_what_only_the_operator_refuses_is_told_too():
    (found,) = lint(manifest({"web.template": {"labels": {"k" * 400: "v"}}}))
    assert found.path == "spec"
    assert "317" in found.message


def test_a_key_whose_dns_name_is_longer_than_any_is_found():
    (found,) = lint(manifest({"web.template": {"labels": {f"{'k' * 254}/a": "v"}}}))
    assert "web.template.labels takes keys" in found.message
