"""``kubectl ccl lint`` on files; tests/operator runs it on a cluster."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from ccl_operator.cli.kubectl_ccl import app
from tests.unit.operator.api.rule_cases import GOOD, changed

HEAD = "apiVersion: ccl.completecarloans.com/v1alpha1\nkind: CclDeployment\nmetadata: {name: ccl}\n"
SECRET = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {key: hunter2}\n"


def written(changes=None):
    return HEAD + yaml.safe_dump({"spec": changed(GOOD, changes or {})})


def lint(*arguments, **options):
    return CliRunner().invoke(app, ["lint", *map(str, arguments)], **options)


@pytest.fixture
def file(tmp_path):
    def put(text, name="a.yaml"):
        place = tmp_path / name
        place.write_text(text)
        return place

    return put


def test_a_clean_file_exits_with_zero(file):
    found = lint("-f", file(written()))
    assert (found.exit_code, found.stdout) == (
        0,
        "CclDeployments: 1 checked, 0 of other kinds skipped, nothing found\n",
    )


def test_a_finding_stands_with_file_line_document_and_path_and_exits_with_one(file):
    place = file(f"{SECRET}---\n{HEAD}spec:\n  image: a\n  database: {{embedded: {{version: 9, storage: 1Gi}}}}\n")
    found = lint("-f", place)
    assert found.exit_code == 1
    assert found.stdout.splitlines()[0] == (
        f"{place}:11 (document 2): spec.database.embedded.version: must be at least 14 and at most 17"
    )
    assert "1 checked, 1 of other kinds skipped" in found.stdout


def test_findings_of_all_files_are_told_as_json(file):
    first, second = file(written({"replica": 1}), "1.yaml"), file(f"---\n---\n{written({'paused': 'no'})}", "2.yaml")
    found = lint("-f", first, "-f", second, "--output", "json")
    assert found.exit_code == 1
    result = json.loads(found.stdout)
    assert (result["checked"], result["skipped"], result["unread"]) == (2, 0, [])
    assert [(each["source"], each["document"], each["path"]) for each in result["findings"]] == [
        (str(first), 1, "spec.replica"),
        (str(second), 2, "spec.paused"),
    ]


def test_a_dash_reads_stdin():
    found = lint("-f", "-", input=written({"replica": 1}))
    assert found.exit_code == 1
    assert found.stdout.startswith("stdin:")


def test_what_cannot_be_read_exits_with_two_and_the_rest_is_checked(file, tmp_path):
    found = lint("-f", tmp_path / "none.yaml", "-f", file(written({"replica": 1})))
    assert found.exit_code == 2
    assert "none.yaml: No such file or directory" in found.stderr
    assert "spec.replica" in found.stdout


def test_an_empty_file_holds_nothing_to_check(file):
    found = lint("-f", file(""))
    assert (found.exit_code, found.stdout[:29]) == (0, "CclDeployments: 0 checked, 0 ")


def test_what_is_no_object_is_a_finding(file):
    found = lint("-f", file("just text"))
    assert found.exit_code == 1
    assert ":1 (document 1): is no Kubernetes object: it has no kind" in found.stdout


def test_values_of_objects_that_are_skipped_are_not_told(file):
    assert "hunter2" not in lint("-f", file(SECRET)).output


@pytest.mark.parametrize("options", [("-f", "-", "-n", "loans"), ("-f", "-", "-A"), ("-n", "loans", "-A")])
def test_options_that_exclude_each_other_are_refused(options):
    assert lint(*options).exit_code == 2
