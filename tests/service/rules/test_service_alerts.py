"""The alert rules of one object, judged by promtool: each fires when it should and is silent when it should be."""

import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ccl_service.main import route_table
from ccl_service.platform.route import Priority
from ccl_service.platform.telemetry.metrics import DEFINED

ROOT = Path(__file__).parents[3]
RULES = ROOT / "operator/ccl_operator/manifests/rules/service.yaml"
POD = 'namespace="loans",app_kubernetes_io_instance="ccl",pod="ccl-web-1"'
#: Every alert but this one needs it to be silent.
UP = {"series": f"up{{{POD}}}", "values": "1x120"}


def rendered() -> dict[str, Any]:
    """The rules as the operator uses them."""
    text = RULES.read_text().replace("__NAMESPACE__", "loans").replace("__NAME__", "ccl")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rendered()["groups"] for rule in group["rules"]}


def series(name: str, values: str, labels: str = POD, **more: str) -> dict[str, str]:
    extra = "".join(f',{key}="{value}"' for key, value in more.items())
    return {"series": f"{name}{{{labels}{extra}}}", "values": values}


def requests(status: str, values: str, route: str = "/api/leads") -> dict[str, str]:
    return series("ccl_http_requests_total", values, method="POST", route=route, status=status)


def latencies(fast: str, slow: str, route: str = "/api/leads") -> list[dict[str, str]]:
    """Counts per minute up to 0.5 s, and those above up to 5 s."""
    name = "ccl_http_request_seconds_bucket"
    return [
        series(name, values, method="POST", route=route, le=le)
        for le, values in (("0.5", fast), ("2", fast), ("5", slow), ("+Inf", slow))
    ]


def volume(free: int, claim: str = "data-ccl-postgres-0", namespace: str = "loans") -> list[dict[str, str]]:
    where = f'namespace="{namespace}",persistentvolumeclaim="{claim}"'
    return [
        series("kubelet_volume_stats_available_bytes", f"{free}x120", where),
        series("kubelet_volume_stats_capacity_bytes", "100x120", where),
    ]


def memory(used: int) -> list[dict[str, str]]:
    return [series("ccl_memory_working_set_bytes", f"{used}x120"), series("ccl_memory_limit_bytes", "100x120")]


def disk(free: int) -> list[dict[str, str]]:
    return [
        series("ccl_filesystem_available_bytes", f"{free}x120", mount="/"),
        series("ccl_filesystem_size_bytes", "100x120", mount="/"),
    ]


POOLER = (
    'namespace="loans",app_kubernetes_io_instance="ccl",app_kubernetes_io_component="pgbouncer",pod="ccl-pgbouncer-1"'
)


def pool(waiting: int, seconds: int, **servers: int) -> list[dict[str, str]]:
    """Clients that wait, for how long the first of them, and connections to the server by state."""
    where = {"database": "ccl", "user": "ccl"}
    rows = {
        "client_waiting_connections": waiting,
        "client_maxwait_seconds": seconds,
        **{f"server_{state}_connections": servers.get(state, 0) for state in ("active", "idle", "used", "testing")},
    }
    return [
        series("up", "1x120", POOLER),
        series("pgbouncer_up", "1x120", POOLER),
        *(series(f"pgbouncer_pools_{name}", f"{value}x120", POOLER, **where) for name, value in rows.items()),
        # What people at the console do counts for nothing.
        series("pgbouncer_pools_server_active_connections", "1x120", POOLER, database="pgbouncer", user="pgbouncer"),
    ]


def failed_job(name: str) -> dict[str, str]:
    return series("kube_job_failed", "1x120", f'namespace="loans",job_name="{name}"', condition="true")


def certificate(days: int) -> list[dict[str, str]]:
    return [series("ccl_certificate_expiry_timestamp_seconds", f"{days * 86400}x120")]


def elsewhere(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same of another object in the namespace."""
    return [{**row, "series": row["series"].replace('instance="ccl"', 'instance="other"')} for row in rows]


def all_of(groups: Iterable[list[dict[str, str]]]) -> list[dict[str, str]]:
    return [row for group in groups for row in group]


#: What watches the service calls these.
OURS = tuple(row.path for row in route_table() if row.priority is Priority.PROBE and row.method == "GET")
WATCHED_SLOWLY = [
    UP,
    *latencies("0+100x120", "0+100x120"),
    *all_of(latencies("0x120", "0+900x120", route) for route in OURS),
]


@dataclass(frozen=True)
class Case:
    alert: str
    why: str
    input: list[dict[str, str]]


FIRING = [
    Case("CclHealthCheckFailing", "the pod does not answer", [series("up", "0x120")]),
    Case(
        "CclHealthCheckFailing", "the database is down", [UP, series("ccl_component_up", "0x120", component="database")]
    ),
    Case("CclNothingScraped", "there is no pod", elsewhere([UP])),
    Case("CclHighErrorRate", "six of a hundred fail", [UP, requests("201", "0+94x120"), requests("500", "0+6x120")]),
    Case(
        "CclHighErrorRate",
        "all callers get errors, scrapes and probes do not",
        [UP, requests("500", "0+10x120"), *(requests("200", "0+900x120", route) for route in OURS)],
    ),
    Case("CclSlowResponses", "six of a hundred are slow", [UP, *latencies("0+94x120", "0+100x120")]),
    Case(
        "CclSlowResponses",
        "all callers wait, scrapes and probes do not",
        [UP, *latencies("0x120", "0+10x120"), *all_of(latencies("0+900x120", "0+900x120", route) for route in OURS)],
    ),
    Case(
        "CclSlowestResponses",
        "all callers wait, scrapes and probes do not",
        [UP, *latencies("0x120", "0+10x120"), *all_of(latencies("0+900x120", "0+900x120", route) for route in OURS)],
    ),
    Case("CclSlowestResponses", "two of a hundred are slow", [UP, *latencies("0+98x120", "0+100x120")]),
    Case(
        "CclDatabaseFailing", "statements fail", [UP, series("ccl_db_failures_total", "0+60x120", code="DATABASE_001")]
    ),
    Case("CclPoolerFailing", "the exporter is away", [UP, series("up", "0x120", POOLER)]),
    Case("CclPoolerFailing", "PgBouncer is away", [UP, series("pgbouncer_up", "0x120", POOLER)]),
    Case("CclPoolerFailing", "clients wait, and there is no server", [UP, *pool(waiting=3, seconds=1)]),
    Case("CclPoolerQueueing", "the first waits for 2 s", [UP, *pool(waiting=3, seconds=2, active=20)]),
    Case("CclNothingScraped", "only the pooler is scraped", [series("up", "1x120", POOLER)]),
    Case("CclUpkeepFailed", "a Job failed", [UP, failed_job("ccl-maintain-29384756")]),
    Case("CclMemoryHigh", "81 %", [UP, *memory(81)]),
    Case("CclVolumeFillingUp", "19 % of the database's volume left", [UP, *volume(19)]),
    Case("CclVolumeFillingUp", "19 % of the backups' volume left", [UP, *volume(19, "ccl-backups")]),
    Case("CclDiskLow", "19 % left", [UP, *disk(19)]),
    Case("CclCertificateExpiring", "13 days left", [UP, *certificate(13)]),
    Case("CclWorkInQuarantine", "one row", [UP, series("ccl_work_in_quarantine", "1x120", queue="sends")]),
    Case("CclQueueBehind", "eleven minutes", [UP, series("ccl_work_oldest_due_seconds", "660x120", queue="sends")]),
    Case("CclProviderDown", "calls are held back", [UP, series("ccl_breaker_open", "1x120", provider="mailgun")]),
    Case("CclAuditNotGenuine", "one forged row", [UP, series("ccl_audit_faults_total", "0x99 1x20", kind="forged")]),
]
SILENT = [
    Case("CclHealthCheckFailing", "all is well", [UP, series("ccl_component_up", "1x120", component="database")]),
    Case("CclHealthCheckFailing", "Redis alone is down", [UP, series("ccl_component_up", "0x120", component="redis")]),
    Case("CclHealthCheckFailing", "another object is down", [UP, *elsewhere([series("up", "0x120")])]),
    Case("CclNothingScraped", "a pod answers", [UP]),
    Case("CclHealthCheckFailing", "only the pooler's exporter is down", [UP, series("up", "0x120", POOLER)]),
    Case("CclPoolerFailing", "clients wait for busy servers", [UP, *pool(waiting=3, seconds=1, active=1)]),
    Case("CclPoolerFailing", "nobody needs a server", [UP, *pool(waiting=0, seconds=0)]),
    Case("CclPoolerFailing", "there is no pooler", [UP]),
    Case("CclPoolerQueueing", "a wait of a second", [UP, *pool(waiting=1, seconds=1, active=20)]),
    Case(
        "CclUpkeepFailed", "another Job failed", [UP, failed_job("ccl-backup-29384756"), failed_job("x-ccl-maintain-1")]
    ),
    Case("CclHighErrorRate", "four of a hundred fail", [UP, requests("201", "0+96x120"), requests("500", "0+4x120")]),
    Case("CclHighErrorRate", "callers err", [UP, requests("201", "0+10x120"), requests("422", "0+90x120")]),
    Case(
        "CclHighErrorRate",
        "only scrapes and probes fail",
        [UP, requests("201", "0+10x120"), *(requests("503", "0+90x120", route) for route in OURS)],
    ),
    Case("CclSlowResponses", "four of a hundred are slow", [UP, *latencies("0+96x120", "0+100x120")]),
    Case("CclSlowResponses", "a stream is long", [UP, *latencies("0x120", "0+100x120", "/api/chat/turns/{id}/events")]),
    Case("CclSlowResponses", "only scrapes and probes are slow", WATCHED_SLOWLY),
    Case("CclSlowestResponses", "only scrapes and probes are slow", WATCHED_SLOWLY),
    Case("CclSlowestResponses", "none is slow", [UP, *latencies("0+100x120", "0+100x120")]),
    Case(
        "CclDatabaseFailing",
        "one fails a minute",
        [UP, series("ccl_db_failures_total", "0+1x120", code="DATABASE_001")],
    ),
    Case("CclDatabaseFailing", "retries", [UP, series("ccl_db_failures_total", "0+60x120", code="DATABASE_002")]),
    Case("CclMemoryHigh", "79 %", [UP, *memory(79)]),
    Case("CclMemoryHigh", "no limit", [UP, series("ccl_memory_working_set_bytes", "99x120")]),
    Case("CclVolumeFillingUp", "21 % left", [UP, *volume(21)]),
    Case("CclVolumeFillingUp", "another object's volume", [UP, *volume(5, "data-other-postgres-0")]),
    Case("CclVolumeFillingUp", "another namespace's volume", [UP, *volume(5, namespace="else")]),
    Case("CclDiskLow", "21 % left", [UP, *disk(21)]),
    Case("CclCertificateExpiring", "30 days left", [UP, *certificate(30)]),
    Case("CclWorkInQuarantine", "none", [UP, series("ccl_work_in_quarantine", "0x120", queue="sends")]),
    Case("CclQueueBehind", "nine minutes", [UP, series("ccl_work_oldest_due_seconds", "540x120", queue="sends")]),
    Case("CclProviderDown", "calls go out", [UP, series("ccl_breaker_open", "0x120", provider="mailgun")]),
    Case("CclAuditNotGenuine", "none", [UP, series("ccl_audit_faults_total", "0x120", kind="forged")]),
]
AT = "110m"


def promtool(tmp_path: Path, tests: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rendered()))
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(document))
    return subprocess.run(
        ["promtool", "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )


def count_of(alert: str, wanted: int) -> list[dict[str, Any]]:
    """Prometheus' own series about alerts: how many of this one fire, whatever their labels and texts."""
    samples = [{"labels": "{}", "value": wanted}] if wanted else []
    return [
        {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})', "eval_time": AT, "exp_samples": samples}
    ]


@pytest.mark.parametrize("case", FIRING, ids=lambda case: f"{case.alert}: {case.why}")
def test_the_alert_fires(case: Case, tmp_path: Path) -> None:
    done = promtool(
        tmp_path,
        [{"interval": "1m", "input_series": case.input, "promql_expr_test": count_of(case.alert, 1)}],
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", SILENT, ids=lambda case: f"{case.alert}: {case.why}")
def test_the_alert_is_silent(case: Case, tmp_path: Path) -> None:
    done = promtool(
        tmp_path,
        [{"interval": "1m", "input_series": case.input, "promql_expr_test": count_of(case.alert, 0)}],
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    assert {case.alert for case in FIRING} == {case.alert for case in SILENT} == set(alerts())


def test_promtool_finds_nothing_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rendered()))
    done = subprocess.run(
        ["promtool", "check", "rules", "rules.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_names_a_runbook_that_exists() -> None:
    for name, rule in alerts().items():
        path = ROOT / rule["annotations"]["runbook"]
        assert path.is_file(), f"{name}: {path} does not exist"
        assert name in path.read_text(), f"{path} does not speak of {name}"


def test_the_expressions_use_only_metrics_that_exist() -> None:
    text = " ".join(rule["expr"] for rule in alerts().values())
    used = {re.sub("_(total|bucket)$", "", name) for name in re.findall(r"\bccl_\w+", text)}
    assert used
    assert used <= set(DEFINED)


def test_every_selector_is_of_one_object_only() -> None:
    for name, rule in alerts().items():
        for selector in re.findall(r"\{(namespace[^}]*)\}", rule["expr"]):
            assert 'namespace="loans"' in selector, name
            named = ('app_kubernetes_io_instance="ccl"', 'persistentvolumeclaim=~"', 'job_name=~"ccl-')
            assert any(each in selector for each in named), name
