"""Which series there are, what moves them, and that callers cannot make more."""

import asyncio
import random
import string
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from ccl_service.main import Service
from ccl_service.platform.db import ACQUIRE_SECONDS, PoolDb, PoolSize
from ccl_service.platform.problems import DatabaseUnavailable
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.context import CURRENT
from ccl_service.platform.telemetry.pool import MeasuredPool, statement_name
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
PERSON = {"first_name": "Ann", "email": "ann@example.com", "source": "api"}


def series(metrics: Metrics) -> set[tuple[str, ...]]:
    return {(s["name"], *sorted(s["labels"].values())) for s in metrics.samples()}


async def test_callers_cannot_make_series(client: Client, service: Service, root: dict[str, str]) -> None:
    rng = random.Random(7)

    def word() -> str:
        return "".join(rng.choices(string.ascii_letters, k=12))

    async def burst() -> None:
        for _ in range(60):
            await client.get(f"/{word()}/{word()}", params={word(): word()}, headers={"X-API-Key": word()})
            await client.request(word().upper(), f"/api/leads/{word()}")
            await client.get(f"/api/leads/{word()}", headers={**root, "X-Request-ID": word(), "User-Agent": word()})
            await client.post("/api/leads", data=word(), headers={**root, "Content-Type": f"a/{word()}"})

    await burst()
    before = series(service.metrics)
    await burst()
    assert series(service.metrics) == before
    assert len(before) < 600


async def test_a_lead_and_its_first_contact_are_counted_once(
    client: Client, service: Service, root: dict[str, str]
) -> None:
    for _ in range(3):
        assert (await client.post("/api/leads", json=PERSON, headers=root)).status in {200, 201}
    assert service.metrics.value("ccl_leads_created_total", source="api") == 1
    assert service.metrics.value("ccl_first_contacts_total") == 1


async def test_a_refused_request_is_counted_by_its_limit(client: Client, service: Service) -> None:
    statuses = [(await client.get("/api/monitoring/production-readiness")).status for _ in range(125)]
    assert statuses.count(429) >= 1
    assert service.metrics.total("ccl_http_limited_total") == statuses.count(429)


async def test_json_and_prometheus_tell_the_same(client: Client, root: dict[str, str]) -> None:
    text = await (await client.get("/api/monitoring/metrics/prometheus", headers=root)).text()
    document = await (await client.get("/api/monitoring/metrics", headers=root)).json()
    names = {sample["name"] for sample in document["metrics"]}
    assert {"ccl_build_info", "process_resident_memory_bytes", "process_open_fds", "ccl_db_connections_max"} <= names
    assert 'ccl_build_info{revision="rev-1",role="all",version=' in text
    assert "python_gc_collections_total" in text
    assert all(f"\n{name}" in text for name in names if name.startswith("ccl_db"))


async def test_waiting_for_a_connection_and_giving_up_are_measured(database_url: str) -> None:
    metrics = Metrics()
    pool = PoolDb(database_url, PoolSize(connections=1), watch=MeasuredPool(metrics))
    await pool.open()
    try:
        async with pool.connection():
            waiting = asyncio.create_task(pool.fetchval("SELECT 1"))

            async def waits() -> bool:
                return pool.waiting == 1

            await eventually(waits, within=30)
            with pytest.raises(DatabaseUnavailable):
                await waiting
        assert await pool.fetchval("SELECT 1") == 1
    finally:
        await pool.close()
    assert pool.waiting == 0
    assert metrics.value("ccl_db_failures_total", code="DATABASE_001") == 1
    assert metrics.value("ccl_db_wait_seconds_count") == 2
    assert metrics.value("ccl_db_wait_seconds_sum") < ACQUIRE_SECONDS * 10


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("\n-- lead_get: one lead\nSELECT 1", "lead_get"),
        ("BEGIN", "BEGIN"),
        ("ROLLBACK TO SAVEPOINT nested; RELEASE", "ROLLBACK"),
        ("", "?"),
    ],
)
def test_a_statement_is_known_by_its_name(statement: str, name: str) -> None:
    assert statement_name(statement) == name


async def test_a_callers_trace_and_request_id_stand_in_the_lines_of_its_request(
    client: Client, service: Service, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    async def broken(*_: object, **__: object) -> None:
        seen.append(CURRENT.get())
        raise RuntimeError("Jane")

    monkeypatch.setattr("ccl_service.leads.service.Leads.get", broken)
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {**root, "traceparent": f"00-{trace}-00f067aa0ba902b7-01", "X-Request-ID": "from-the-caller"}
    with capture_logs() as logs:
        answer = await client.get("/api/leads/7f1f2a52-6f0e-4d51-8b5c-2f6f3c3e9d10", headers=headers)
    assert answer.status == 500
    (context,) = seen
    assert (context.trace_id, context.request_id, context.principal) == (trace, "from-the-caller", "root")
    assert any(line["event"] == "request failed" for line in logs)
    assert CURRENT.get() is None
