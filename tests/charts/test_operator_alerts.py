"""The operator's alerts, judged by promtool: each fires when it should and is silent otherwise; and the dashboard."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccl_operator.runtime.metrics import Conditions, Metrics
from tests.charts.conftest import CHARTS, HelmRefused, Render

RULES = CHARTS / "ccl-operator" / "files" / "alerts.yaml"
DASHBOARD = CHARTS / "ccl-operator" / "files" / "dashboard.json"
ROOT = CHARTS.parent
POD = 'namespace="ccl-system",pod="ccl-operator-1",job="ccl-operator-metrics"'
STANDBY = 'namespace="ccl-system",pod="ccl-operator-2",job="ccl-operator-metrics"'

Series = dict[str, str]


def series(series_name: str, values: str, labels: str = POD, **more: str) -> Series:
    """One input series, a value a minute for an hour."""
    extra = "".join(f',{key}="{value}"' for key, value in more.items())
    return {"series": f"{series_name}{{{labels}{extra}}}", "values": values}


def condition(kind: str, status: str, *, reason: str = "Why", pod: str = POD) -> Series:
    """As exported with honorLabels: the namespace is the object's."""
    labels = pod.replace('namespace="ccl-system"', 'namespace="loans"')
    return series("ccl_operator_condition", "1x60", labels, name="ccl", type=kind, status=status, reason=reason)


def requests(code: str, values: str) -> Series:
    return series("ccl_operator_api_requests_total", values, verb="patch", resource="services", code=code)


def passes(le: str, values: str) -> Series:
    return series("ccl_operator_reconcile_seconds_bucket", values, outcome="wrote", le=le)


def interrupted(values: str, labels: str = POD) -> Series:
    return series("ccl_operator_interrupted_objects", values, labels)


LEADER = series("ccl_operator_leader", "1x60")
IDLE = series("ccl_operator_leader", "0x60", STANDBY)


@dataclass(frozen=True)
class Case:
    """Series under which an alert fires, and series quite like them under which it does not."""

    fires: list[Series]
    silent: list[Series]


CASES = {
    "CclOperatorAbsent": Case([], [IDLE]),
    "CclOperatorWithoutLeader": Case([IDLE, series("ccl_operator_leader", "0x60")], [IDLE, LEADER]),
    "CclOperatorWatchSilent": Case(
        [LEADER, series("ccl_operator_watch_age_seconds", "0+60x60", resource="pods", scope="loans")],
        # Kopf hides the signs of life of our own kind: ten minutes between two listings are nothing.
        [
            LEADER,
            series("ccl_operator_watch_age_seconds", "60x60", resource="pods", scope="loans"),
            series("ccl_operator_watch_age_seconds", "600x60", resource="ccldeployments"),
        ],
    ),
    "CclOperatorForbidden": Case(
        [LEADER, series("ccl_operator_forbidden_total", "0+1x60", resource="statefulsets")],
        [LEADER, series("ccl_operator_forbidden_total", "3x60", resource="statefulsets")],
    ),
    "CclOperatorReconcileFails": Case(
        [LEADER, series("ccl_operator_reconcile_seconds_count", "0+1x60", outcome="bug")],
        [LEADER, series("ccl_operator_reconcile_seconds_count", "0+1x60", outcome="wrote")],
    ),
    "CclOperatorInterrupted": Case(
        [LEADER, IDLE, interrupted("1x60"), interrupted("0x60", STANDBY)],
        # A restart of the API server, and nobody is in trouble any more.
        [LEADER, interrupted("0x42 3x4 0x60")],
    ),
    "CclOperatorSlow": Case(
        [LEADER, passes("2.5", "0+9x60"), passes("10", "0+10x60"), passes("+Inf", "0+10x60")],
        [LEADER, passes("2.5", "0+10x60"), passes("+Inf", "0+10x60"), series("ccl_operator_queue_depth", "19x60")],
    ),
    "CclOperatorApiErrors": Case(
        [LEADER, requests("200", "0+80x60"), requests("0", "0+20x60")],
        [LEADER, requests("200", "0+95x60"), requests("503", "0+5x60"), requests("404", "0+50x60")],
    ),
    "CclDeploymentStalled": Case(
        [LEADER, condition("Stalled", "True"), condition("Stalled", "True", pod=STANDBY)],
        [LEADER, condition("Stalled", "False")],
    ),
    "CclRotationWaiting": Case(
        [LEADER, condition("Reconciling", "True", reason="RotationWaiting")],
        [LEADER, condition("Reconciling", "True", reason="Checking")],
    ),
    "CclDeploymentNotReady": Case([LEADER, condition("Ready", "False")], [LEADER, condition("Ready", "Unknown")]),
    "CclDeploymentDatabaseUnreachable": Case(
        [LEADER, condition("DatabaseReachable", "False")], [LEADER, condition("DatabaseReachable", "True")]
    ),
    "CclBackupUnhealthy": Case(
        [LEADER, condition("BackupHealthy", "False")], [LEADER, condition("BackupHealthy", "Unknown")]
    ),
}


def rules() -> dict[str, dict[str, Any]]:
    """Every alert by its name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def test_promtool_finds_nothing_to_say() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True, capture_output=True)


def test_every_alert_has_its_cases() -> None:
    assert CASES.keys() == rules().keys()


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_once_when_it_should(alert: str, tmp_path: Path) -> None:
    assert fired(tmp_path, CASES[alert].fires, alert) == 1


@pytest.mark.parametrize("alert", CASES)
def test_it_is_silent_when_it_should_be(alert: str, tmp_path: Path) -> None:
    assert fired(tmp_path, CASES[alert].silent, alert) == 0


def fired(folder: Path, inputs: list[Series], alert: str) -> int:
    """How many alerts of that name fire after 50 minutes: promtool tells what it got in place of none."""
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": inputs,
                "alert_rule_test": [{"eval_time": "50m", "alertname": alert, "exp_alerts": []}],
            }
        ],
    }
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(test))
    done = subprocess.run(["promtool", "test", "rules", str(file)], check=False, capture_output=True, text=True)
    found = (done.stdout + done.stderr).count(f'alertname="{alert}"')
    assert bool(found) == (done.returncode != 0), done.stdout + done.stderr
    return found


def test_every_alert_leads_to_a_runbook_that_exists() -> None:
    for alert, rule in rules().items():
        page = ROOT / rule["annotations"]["runbook"]
        assert page.exists(), f"{alert}: {page}"
        if page.stem.startswith(("CclOperator", "CclDeployment", "CclRotation")):
            assert page.read_text().startswith(f"# {page.stem}\n")


def exported() -> set[str]:
    """Names of all series that the operator exports."""
    metrics = Metrics()
    owner = {
        "metadata": {"namespace": "n", "name": "x"},
        "status": {"conditions": [{"type": "T", "status": "True", "reason": "R"}]},
    }
    metrics.registry.register(Conditions(lambda: [owner]))
    found = set()
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        found |= {f"{family.name}{suffix}" for suffix in suffixes}
    return found


def expressions() -> Iterator[str]:
    """Every expression of alerts and dashboard."""
    yield from (rule["expr"] for rule in rules().values())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def test_every_expression_names_series_that_exist() -> None:
    known = exported()
    for expression in expressions():
        named = set(re.findall(r"\b(?:ccl_operator|process)_\w+", expression))
        assert named, expression
        assert named <= known, expression


def test_promtool_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(expressions())]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}))
    subprocess.run(["promtool", "check", "rules", str(file)], check=True, capture_output=True)


def test_nothing_of_the_prometheus_operator_is_rendered_unless_asked_for(render: Render) -> None:
    assert {each["apiVersion"] for each in render()}.isdisjoint({"monitoring.coreos.com/v1"})


def test_monitor_rules_and_dashboard_are_rendered_as_they_are_in_their_files(render: Render) -> None:
    monitoring = {"serviceMonitor": True, "rules": True, "dashboard": True, "labels": {"release": "prometheus"}}
    objects = {each["kind"]: each for each in render(monitoring=monitoring)}
    assert objects["PrometheusRule"]["spec"] == yaml.safe_load(RULES.read_text())
    assert objects["PrometheusRule"]["metadata"]["labels"]["release"] == "prometheus"
    assert json.loads(objects["ConfigMap"]["data"]["ccl-operator.json"]) == json.loads(DASHBOARD.read_text())
    assert objects["ConfigMap"]["metadata"]["labels"]["grafana_dashboard"] == "1"
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["honorLabels"] is True
    selector = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert selector.items() <= objects["Service"]["metadata"]["labels"].items()
    assert endpoint["port"] == objects["Service"]["spec"]["ports"][0]["name"]


def test_alerts_lead_to_where_the_runbooks_can_be_read(render: Render) -> None:
    objects = render(monitoring={"rules": True, "runbooksUrl": "https://git.example.com/docs/runbooks/"})
    (made,) = [each for each in objects if each["kind"] == "PrometheusRule"]
    annotations = [rule["annotations"] for group in made["spec"]["groups"] for rule in group["rules"]]
    wanted = [rule["annotations"]["runbook"].removeprefix("docs/runbooks/") for rule in rules().values()]
    assert [each["runbook_url"] for each in annotations] == [
        f"https://git.example.com/docs/runbooks/{p}" for p in wanted
    ]
    assert all("runbook" not in each for each in annotations)


def test_the_operator_is_told_where_the_runbooks_of_the_service_can_be_read(render: Render) -> None:
    def told(**values: Any) -> list[str]:
        (made,) = [each for each in render(**values) if each["kind"] == "Deployment"]
        (container,) = made["spec"]["template"]["spec"]["containers"]
        return [each["value"] for each in container["env"] if each["name"] == "CCL_RUNBOOKS_URL"]

    assert told() == []
    assert told(monitoring={"runbooksUrl": "https://git.example.com/r"}) == ["https://git.example.com/r"]


def test_a_place_of_runbooks_that_is_no_address_is_refused(render: Render) -> None:
    with pytest.raises(HelmRefused):
        render(monitoring={"rules": True, "runbooksUrl": "docs/runbooks"})
