"""The documents promise nothing that is not there: commands, options, targets, routes, metrics, fields, files."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ccl_operator.backup.cli import app as ccl_backup
from ccl_operator.cli.app import app as ccl_operator
from ccl_operator.cli.kubectl_ccl import app as kubectl_ccl
from ccl_service.cli import app as ccl_service
from ccl_service.main import FEATURES
from ccl_service.platform.config import Settings
from ccl_service.platform.config_sources import variables
from ccl_service.platform.keys import KEY_VARIABLES
from ccl_service.platform.route import Auth
from ccl_service.platform.table import whole_table
from ccl_service.platform.telemetry.metrics import DEFINED
from tests.unit.docs.reading import PAGES, ROOT, anchors, commands, links, name, paths, words

PROGRAMS = {
    "ccl-service": ccl_service,
    "ccl-backup": ccl_backup,
    "ccl-operator": ccl_operator,
    "kubectl-ccl": kubectl_ccl,
    # How kubectl calls its plugin.
    "kubectl ccl": kubectl_ccl,
}
OPERATIONS = (ROOT / "docs/operations.md").read_text()
every_page = pytest.mark.parametrize("page", PAGES, ids=name)


def wrong_words(command: Any, called: list[str]) -> Iterator[str]:
    """Sub-commands and options that a command (typer's own copy of click's classes) does not have."""
    rest = list(called)
    while (group := getattr(command, "commands", None)) and rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "…":
            return
        if word not in group:
            yield word
            return
        command = group[word]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    yield from (word for word in rest if word.startswith("--") and word.split("=")[0] not in known)


@every_page
@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_and_option_exists(page: Path, program: str) -> None:
    command = typer.main.get_command(PROGRAMS[program])
    wrong = [
        f"{program} {' '.join(called)}: {word}"
        for called in commands(page.read_text(), program)
        for word in wrong_words(command, called)
    ]
    assert wrong == []


@every_page
def test_every_make_target_exists(page: Path) -> None:
    rules = re.findall(r"^([a-z][\w ]*):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    called = {call[0] for call in commands(page.read_text(), "make") if call and not call[0].startswith("-")}
    assert called - targets == set()


ROUTES = {route.path for route in whole_table(route for feature in FEATURES for route in feature.routes)}


def routed(path: str) -> bool:
    """Whether a route answers this path; a path that ends within a route's names a family of them."""
    parts = re.sub(r"<[^>]*>", "{x}", path).strip("/").split("/")
    for route in ROUTES:
        there = route.strip("/").split("/")
        if len(parts) <= len(there) and all(
            have == want or have.startswith("{") for have, want in zip(there, parts, strict=False)
        ):
            return True
    return False


@every_page
def test_every_route_exists(page: Path) -> None:
    assert {path for path in paths(page.read_text()) if not routed(path)} == set()


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    wrong = []
    for link in links(page.read_text()):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            wrong.append(link)
    assert wrong == []


@every_page
def test_every_file_of_the_project_exists(page: Path) -> None:
    named = words(page.read_text(), r"(?<![\w/.-])(?:service|operator|hack|docs|tests|charts|crds)/[\w/.-]*\w")
    assert {path for path in named if not (ROOT / path).exists()} == set()


@every_page
def test_every_metric_of_the_service_exists(page: Path) -> None:
    named = words(page.read_text(), r"\bccl_(?!service\b|operator|contract\b|restored\b|backend\b)[a-z0-9_]+")
    known = DEFINED | {f"{metric}_total" for metric in DEFINED} | {f"{metric}_bucket" for metric in DEFINED}
    assert named - known == set()


#: Prefixes of variables that belong to others, and variables of tools.
FOREIGN = re.compile(
    r"^(OTEL|DD|PGSERVER|CCL_OPERATOR)_|^(CCL_CLUSTER|CCL_REGISTRY|CCL_YES|NODE_ENV|NAME_FILE|BACKUP_(DESTINATION|KEEP_LAST|TERMINATION_LOG))$"
)


@every_page
def test_every_variable_is_one_of_the_service_or_of_a_known_tool(page: Path) -> None:
    own = {variable.name for variable in variables(Settings)} | set(KEY_VARIABLES.values())
    own |= {f"{variable}_FILE" for variable in own} | {
        "BACKUP_DESTINATION",
        "BACKUP_KEEP_LAST",
        "BACKUP_TERMINATION_LOG",
    }
    named = words(page.read_text(), r"(?<![\w/<{])([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)(?![\w>}])")
    codes = {code for code in named if re.fullmatch(r"[A-Z]+(_[A-Z]+)*_\d{3}", code)}
    assert {one for one in named - own - codes if not FOREIGN.search(one)} == set()


@functools.cache
def spec_schema() -> dict[str, Any]:
    crd = next(
        crd
        for file in (ROOT / "crds").glob("*.yaml")
        for crd in yaml.safe_load_all(file.read_text())
        if crd["spec"]["names"]["kind"] == "CclDeployment"
    )
    found: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


@every_page
def test_every_field_of_a_ccldeployment_exists(page: Path) -> None:
    wrong: set[str] = set()
    for field in words(page.read_text(), r"(?<![\w.])spec((?:\.[a-z]\w*)+)"):
        at: dict[str, Any] = spec_schema()
        for part in field.strip(".").split("."):
            at = at.get("properties", {}).get(part)
            if at is None:
                wrong.add(f"spec{field}")
                break
    assert wrong == set()


def test_every_check_that_operations_names_is_a_check_of_production_readiness() -> None:
    named = set(re.findall(r"`([A-Z][A-Za-z]+)`", " ".join(re.findall(r"\[(`[A-Z][^\]]*)\](?!\()", OPERATIONS))))
    checks = set(re.findall(r"^\| `([A-Z][A-Za-z]+)` \|", (ROOT / "docs/readiness.md").read_text(), re.MULTILINE))
    assert named
    assert named - checks == set()


def test_every_alert_that_operations_names_exists_and_none_is_missing() -> None:
    rules = yaml.safe_load((ROOT / "operator/ccl_operator/manifests/rules/service.yaml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    section = OPERATIONS.split("## Alerts")[1].split("\n## ")[0]
    assert set(re.findall(r"`(Ccl[A-Z][A-Za-z]+)`", section)) == alerts


def test_the_routes_that_operations_lists_as_open_are_those_that_need_no_key() -> None:
    table = whole_table(route for feature in FEATURES for route in feature.routes)
    section = OPERATIONS.split("### Routes without a key")[1].split("\n## ")[0]
    assert paths(section) == {route.path for route in table if route.auth in {Auth.PUBLIC, Auth.SIGNATURE}}


PROMISES = """
`ccl-service audit destroy`, `ccl-service maintain --twice`, `make coffee`
```sh
curl $URL/api/coffee && ccl-service check --json   # --not-an-option of a comment
```
[a page](nowhere.md) and `ccl_coffee_total`
"""


def test_a_promise_that_is_not_kept_is_found() -> None:
    command = typer.main.get_command(ccl_service)
    wrong = [word for called in commands(PROMISES, "ccl-service") for word in wrong_words(command, called)]
    assert sorted(wrong) == ["--twice", "destroy"]
    assert [call[0] for call in commands(PROMISES, "make")] == ["coffee"]
    assert {path for path in paths(PROMISES) if not routed(path)} == {"/api/coffee"}
    assert links(PROMISES) == ["nowhere.md"]
