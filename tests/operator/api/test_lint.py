"""What ``kubectl ccl lint`` says, held against a real API server: both take the same, and both refuse the same."""

import json
import subprocess
import sys

import pytest

from ccl_operator import names
from ccl_operator.api.lint import lint
from hack.cluster.apiserver import ADMIN, OPERATOR
from tests.operator.api.conftest import NAMESPACE
from tests.unit.operator.api.rule_cases import CASES, GOOD, REMOVED, changed


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_lint_and_the_api_server_accept_the_same(rest, case):
    spec = changed(GOOD, case.accepted)
    code, answer = rest.create(case.name_accepted, spec)
    assert code == 201, answer["message"]
    assert lint(rest.manifest(case.name_accepted, spec)) == ()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_lint_and_the_api_server_refuse_the_same_in_the_same_words(rest, case):
    spec = changed(GOOD, case.refused)
    code, answer = rest.create(case.name_refused, spec)
    assert code == 422
    (found,) = lint(rest.manifest(case.name_refused, spec))
    assert found.message in answer["message"]


def test_lint_and_the_api_server_name_each_variable_that_the_operator_sets_itself(rest):
    variables = [{"name": name, "value": "1"} for name in ("PORT", "LOG_LEVEL", "CCL_ENV")]
    spec = changed(GOOD, {"jobs.extraEnv": variables})
    code, answer = rest.create("ccl", spec)
    assert code == 422
    found = lint(rest.manifest("ccl", spec))
    assert [each.path for each in found] == ["spec.jobs.extraEnv[0]", "spec.jobs.extraEnv[2]"]
    told = {cause["field"]: cause["message"] for cause in answer["details"]["causes"]}
    assert all(each.message in told[each.path] for each in found)


SHAPES = {
    "null for a default": ({"replicas": None}, True),
    "null for an object": ({"web": None}, True),
    "null for what may be absent": ({"autoscaling": None}, True),
    "null in a map": ({"web.template": {"labels": {"a": None}}}, True),
    "a whole number with a point": ({"replicas": 1.0}, False),
    "null for what is required": ({"backup.schedule": None}, False),
    "null in a list": ({"web.extraEnv": [None]}, False),
    "missing": ({"image": REMOVED}, False),
    "misspelt": ({"replica": 1}, False),
    "a null that is misspelt": ({"replica": None}, False),
    "a field below an object without fields": ({"sessions": {"redis": {"embedded": {"a": 1}}}}, False),
    "text for a number": ({"replicas": "1"}, False),
    "a fraction": ({"replicas": 1.5}, False),
    "a number for text": ({"web.resources": {"requests": {"cpu": 1}}}, False),
    "a number for a boolean": ({"paused": 0}, False),
    "an object for a list": ({"imagePullSecrets": {"name": "a"}}, False),
    "not in the set": ({"deletionPolicy": "Forget"}, False),
    "above the maximum": ({"replicas": 101}, False),
    "too long": ({"secrets.rotate": "x" * 65}, False),
    "as long as may be, counted in characters": ({"secrets.rotate": "ü" * 64}, True),
    "too many entries": ({"imagePullSecrets": [{"name": "a"}] * 11}, False),
    "too many keys": ({"web.template": {"labels": {f"k{n}": "v" for n in range(21)}}}, False),
    "no match": ({"migration": {"timeout": "10 minutes"}}, False),
    "a match and a new line": ({"migration": {"timeout": "10m\n"}}, False),
}


@pytest.mark.parametrize(("changes", "good"), SHAPES.values(), ids=SHAPES)
def test_lint_and_the_api_server_judge_a_shape_alike(rest, changes, good):
    spec = changed(GOOD, changes)
    code, answer = rest.create("ccl", spec)
    assert (code == 201) is good, answer
    assert (lint(rest.manifest("ccl", spec)) == ()) is good


METADATA = {
    "labels": ({"labels": {"a": "b"}}, True),
    "finalizers": ({"finalizers": ["example.com/a"]}, True),
    "misspelt": ({"lables": {"a": "b"}}, False),
    "a number for text": ({"annotations": {"a": 1}}, False),
    "a generated name": ({"name": None, "generateName": "ccl-"}, True),
    "a generated name that gets too long": ({"name": None, "generateName": "a" * 36}, False),
    "no name": ({"name": None}, False),
}


@pytest.mark.parametrize(("metadata", "good"), METADATA.values(), ids=METADATA)
def test_lint_and_the_api_server_judge_metadata_alike(rest, metadata, good):
    manifest = rest.manifest("ccl", GOOD)
    manifest["metadata"] |= metadata
    code, answer = rest.request("POST", f"{rest.path()}?fieldValidation=Strict&dryRun=All", manifest)
    assert (code == 201) is good, answer
    assert (lint(manifest) == ()) is good


def run(server, user, *options):
    return subprocess.run(
        [sys.executable, "-c", "from ccl_operator.cli.kubectl_ccl import main; main()", "lint", *options],
        env={"KUBECONFIG": str(server.kubeconfig_for(user)), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def stored_object(rest):
    code, answer = rest.create("linted", GOOD, dry_run=False)
    assert code == 201, answer
    yield
    rest.request("DELETE", f"{rest.path()}/linted")


@pytest.mark.usefixtures("stored_object")
@pytest.mark.parametrize("options", [("-n", NAMESPACE), ("-A",)])
def test_what_a_cluster_holds_is_checked_through_the_kubeconfig(server, options):
    found = run(server, ADMIN.name, *options, "--output", "json")
    assert found.returncode == 0, found.stdout + found.stderr
    assert json.loads(found.stdout)["checked"] >= 1


@pytest.mark.usefixtures("stored_object")
def test_without_a_namespace_it_is_the_kubeconfigs(server):
    found = run(server, ADMIN.name)
    assert (found.returncode, found.stdout) == (
        0,
        "CclDeployments: 0 checked, 0 of other kinds skipped, nothing found\n",
    ), found.stderr


def test_a_cluster_that_does_not_let_one_list_exits_with_two(server):
    found = run(server, OPERATOR.name, "-n", "kube-system")
    assert found.returncode == 2
    assert f"listing {names.OWNER.plural}.{names.OWNER.group} was answered with 403 Forbidden" in found.stderr
