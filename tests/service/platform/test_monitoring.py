"""Probes and the monitoring API over HTTP."""

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_contract.readiness import ReadinessReport
from ccl_service.main import Service, open_service
from ccl_service.migrations import OWN_EPOCH
from ccl_service.platform.config import load_settings
from ccl_service.platform.db import PoolDb
from tests.service.conftest import ServiceServer, variables

Client = TestClient[web.Request, web.Application]
BASE = "/api/monitoring"


@pytest.mark.parametrize("path", ["/live", "/ready", "/health"])
@pytest.mark.parametrize("prefix", ["", BASE])
async def test_probes_answer_strangers_at_both_paths(client: Client, prefix: str, path: str) -> None:
    answer = await client.get(prefix + path)
    assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", f"{BASE}/health"])
async def test_probes_answer_head_without_a_body(client: Client, path: str) -> None:
    answer = await client.head(path)
    assert (answer.status, await answer.read()) == (200, b"")


async def test_ready_turns_503_while_draining_and_live_stays(client: Client, service: Service) -> None:
    service.phase.draining = True
    answer = await client.get("/ready")
    assert (answer.status, (await answer.json())["reason"]) == (503, "Draining")
    assert (await client.get("/live")).status == 200


@pytest.mark.parametrize(
    ("epoch", "min_compatible", "reason"),
    [
        (OWN_EPOCH, OWN_EPOCH, None),
        (OWN_EPOCH + 3, OWN_EPOCH, None),
        (99, 98, "SchemaAhead"),
        (OWN_EPOCH + 1, OWN_EPOCH + 1, "SchemaAhead"),
        (OWN_EPOCH - 1, 0, "SchemaBehind"),
    ],
)
async def test_ready_follows_the_epochs_that_the_database_holds(
    client: Client, db: PoolDb, epoch: int, min_compatible: int, reason: str | None
) -> None:
    await db.execute("UPDATE schema_state SET epoch = $1, min_compatible = $2", epoch, min_compatible)
    answer = await client.get("/ready")
    assert (answer.status, (await answer.json()).get("reason")) == (503 if reason else 200, reason)
    assert (await client.get("/live")).status == 200


async def test_without_migrations_nothing_is_ready(empty_database_url: str) -> None:
    settings = load_settings(variables(empty_database_url))
    async with open_service(settings) as service, TestClient(ServiceServer(service.app)) as client:
        answer = await client.get("/ready")
        assert (answer.status, (await answer.json())["reason"]) == (503, "SchemaBehind")


async def test_strangers_see_no_internals(client: Client) -> None:
    health = await (await client.get("/health")).json()
    assert health == {
        "status": "healthy",
        "components": {"database": {"state": "up"}, "redis": {"state": "unused"}},
    }
    readiness = await (await client.get(f"{BASE}/production-readiness")).json()
    assert set(readiness) == {"v", "status", "counts"}


async def test_a_key_shows_the_details_of_health(client: Client, root: dict[str, str]) -> None:
    health = await (await client.get("/health", headers=root)).json()
    assert health["components"]["database"]["latency_ms"] >= 0
    assert health["revision"] == "rev-1"


async def test_the_readiness_report_is_the_contracts_document(client: Client, root: dict[str, str]) -> None:
    answer = await client.get(f"{BASE}/production-readiness", headers=root)
    report = ReadinessReport.model_validate_json(await answer.text())
    assert report.revision == "rev-1"
    assert report.schema_ is not None
    assert report.schema_.compatible
    assert report.database is not None
    assert report.keys.jwt == ("static",)
    verdicts = {c.id: c.status.value for c in report.checks}
    assert verdicts["DatabaseReachable"] == verdicts["SchemaCompatible"] == verdicts["SecretsStrong"] == "pass"
    assert verdicts["Tls"] == "warn"


@pytest.mark.parametrize("path", ["metrics", "metrics/prometheus", "performance", "config"])
async def test_monitoring_details_need_a_key(client: Client, root: dict[str, str], path: str) -> None:
    refused = await client.get(f"{BASE}/{path}")
    assert refused.status == 401
    assert (await refused.json())["code"] == "AUTH_001"
    assert (await client.get(f"{BASE}/{path}", headers=root)).status == 200
    key = root["Authorization"].removeprefix("Bearer ")
    assert (await client.get(f"{BASE}/{path}", headers={"X-API-Key": key})).status == 200


async def test_the_configuration_shows_no_secret(client: Client, root: dict[str, str], environ: dict[str, str]) -> None:
    text = await (await client.get(f"{BASE}/config", headers=root)).text()
    for name in ("DATABASE_URL", "INTERNAL_API_KEY", "JWT_SECRET", "SESSION_SECRET"):
        assert environ[name] not in text


async def test_metrics_count_by_route_template(client: Client, root: dict[str, str]) -> None:
    await client.get("/live")
    await client.get("/no/such/path")
    text = await (await client.get(f"{BASE}/metrics/prometheus", headers=root)).text()
    assert 'ccl_http_requests_total{method="GET",route="/live",status="200"} 1.0' in text
    assert 'ccl_http_requests_total{method="(any)",route="(none)",status="404"} 1.0' in text
    seen = await (await client.get(f"{BASE}/performance", headers=root)).json()
    rows: list[dict[str, Any]] = seen["process"]["windows"][0]["routes"]
    assert any(row["route"] == "/live" and row["p99_ms"] > 0 for row in rows)
