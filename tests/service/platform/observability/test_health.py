"""The health report: what each component says, who sees it, and what makes a process unfit."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service, open_service
from ccl_service.platform import components, queues
from ccl_service.platform.breaker import FAILURES
from ccl_service.platform.components import Component, HealthSampler, judge
from ccl_service.platform.config import load_settings
from ccl_service.platform.db import PoolDb
from ccl_service.platform.dependencies import Verdict
from ccl_service.platform.lifecycle import working
from ccl_service.platform.observability import DEPENDENCIES, HEALTH
from ccl_service.platform.queues import QueueSampler, depth_statement
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import WorkTable
from tests.service.conftest import ServiceServer
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
SENDS = WorkTable("sends", ("queued", "sending"))


async def report(client: Client, headers: dict[str, str]) -> dict[str, Any]:
    async with client.get("/health", headers=headers) as answer:
        found: dict[str, Any] = await answer.json()
        return found | {"http": answer.status}


@pytest.mark.parametrize(
    ("database", "redis", "draining", "status", "fit"),
    [
        ("up", "up", False, "healthy", True),
        ("up", "unused", False, "healthy", True),
        ("up", "down", False, "degraded", True),
        ("down", "up", False, "unhealthy", False),
        ("incompatible", "up", False, "unhealthy", False),
        ("up", "up", True, "draining", False),
        ("down", "down", True, "draining", False),
    ],
)
def test_the_worst_component_that_counts_decides(
    database: str, redis: str, draining: bool, status: str, fit: bool
) -> None:
    found = judge((Component("database", database, critical=True), Component("redis", redis)), draining=draining)
    assert (found.status, found.fit) == (status, fit)


async def test_a_key_sees_state_latency_and_age_of_each_component(client: Client, root: dict[str, str]) -> None:
    seen = (await report(client, root))["components"]
    assert seen["database"]["state"] == "up"
    assert seen["database"]["latency_ms"] >= 0
    assert seen["database"]["age_s"] >= 0
    assert seen["database"]["pool"]["waiting"] == 0


async def test_a_provider_that_keeps_failing_degrades_and_is_shown_to_keys_only(
    client: Client, service: Service, root: dict[str, str]
) -> None:
    mailgun = service.app[DEPENDENCIES].add("mailgun")
    mailgun.begin().finish("accepted", Verdict.WORKS)
    assert (await report(client, root))["components"]["mailgun"]["state"] == "up"
    for _ in range(FAILURES):
        mailgun.begin().finish("no_answer", Verdict.FAILS)
    seen = await report(client, root)
    assert (seen["http"], seen["status"]) == (200, "degraded")
    assert seen["components"]["mailgun"]["state"] == "down"
    assert seen["components"]["mailgun"]["breaker"] == "open"
    assert seen["components"]["mailgun"]["last_outcome"] == "no_answer"
    stranger = await report(client, {})
    assert set(stranger["components"]) == {"database", "redis"}
    assert all(set(one) == {"state"} for one in stranger["components"].values())


async def test_redis_that_goes_away_degrades(
    environ: dict[str, str], unused_tcp_port: int, root: dict[str, str]
) -> None:
    settings = load_settings({**environ, "REDIS_URL": f"redis://127.0.0.1:{unused_tcp_port}/0"})
    async with open_service(settings) as service, TestClient(ServiceServer(service.app)) as client:
        seen = await report(client, root)
    assert (seen["http"], seen["status"], seen["components"]["redis"]["state"]) == (200, "degraded", "down")


async def test_redis_is_asked_once_however_many_ask_us(
    environ: dict[str, str], redis_server: str, root: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(components, "REDIS_CACHE_SECONDS", 3600)
    async with (
        open_service(load_settings({**environ, "REDIS_URL": redis_server})) as service,
        TestClient(ServiceServer(service.app)) as client,
    ):
        seen = await asyncio.gather(*(report(client, root) for _ in range(10)))
    assert {one["components"]["redis"]["state"] for one in seen} == {"up"}
    assert len({one["components"]["redis"]["latency_ms"] for one in seen}) == 1


async def test_the_states_become_gauges_and_an_unused_component_none(service: Service) -> None:
    await HealthSampler(service.app[HEALTH], service.metrics).sample()
    assert service.metrics.value("ccl_component_up", component="database") == 1
    names = {s["labels"].get("component") for s in service.metrics.samples() if s["name"] == "ccl_component_up"}
    assert "redis" not in names


@pytest.fixture
async def lead(db: PoolDb) -> Any:
    """A lead with an enrolment; returns a function that queues a send."""
    lead_id, enrolment = uuid4(), uuid4()
    await db.execute(
        """INSERT INTO leads (id, source, first_name, email, requested_at)
           VALUES ($1, 'api', 'A', 'a@example.com', now())""",
        lead_id,
    )
    await db.execute(
        "INSERT INTO enrolments (id, sequence, lead_id, occasion) VALUES ($1, 'first-contact', $2, 'intake')",
        enrolment,
        lead_id,
    )
    step = iter(range(1000))

    async def queue(state: str, *, lane: int = 0, due: timedelta = timedelta(0), leased: bool = False) -> None:
        number = next(step)
        await db.execute(
            """INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, lane, due_at, lease_until)
               VALUES ($1, $2, $3, $4, $5, $6, $7, now() - $8::interval,
                       CASE WHEN $9 THEN now() + interval '1 hour' END)""",
            uuid4(),
            enrolment,
            number,
            lead_id,
            number.to_bytes(4),
            state,
            lane,
            due,
            leased,
        )

    return queue


async def test_the_depth_of_a_queue(db: PoolDb, lead: Any) -> None:
    await lead("queued", due=timedelta(seconds=100))
    await lead("queued", lane=2, due=timedelta(seconds=900))
    await lead("queued", due=timedelta(seconds=-100))  # in the future
    await lead("sending", due=timedelta(seconds=5000), leased=True)
    await lead("quarantined", due=timedelta(days=1))
    await lead("delivered", due=timedelta(days=1))
    metrics = Metrics()
    sampler = QueueSampler(db, [SENDS], metrics, clock=asyncio.get_running_loop().time)
    await sampler.sample()
    assert metrics.value("ccl_work_due", queue="sends") == 2
    assert metrics.value("ccl_work_leased", queue="sends") == 1
    assert metrics.value("ccl_work_in_quarantine", queue="sends") == 1
    assert metrics.value("ccl_work_oldest_due_seconds", queue="sends") == pytest.approx(900, abs=60)
    assert sampler.behind


async def test_an_empty_queue_is_not_behind(db: PoolDb) -> None:
    metrics = Metrics()
    sampler = QueueSampler(db, [SENDS], metrics, clock=asyncio.get_running_loop().time)
    await sampler.sample()
    assert metrics.value("ccl_work_oldest_due_seconds", queue="sends") == 0
    assert not sampler.behind


async def test_a_queue_that_is_behind_degrades_the_process_that_works_it(
    client: Client, service: Service, lead: Any, root: dict[str, str]
) -> None:
    assert service.app[HEALTH].queues is not None
    await lead("queued", due=timedelta(hours=1))
    await service.app[HEALTH].queues.sample()
    seen = await report(client, root)
    assert (seen["http"], seen["status"]) == (200, "degraded")
    assert seen["components"]["queues"]["tables"]["sends"]["due"] == 1


async def test_the_depth_is_read_from_indexes(db: PoolDb, database_url: str) -> None:
    con = await asyncpg.connect(database_url)
    try:
        await con.execute("SET enable_seqscan = off")
        plan = "\n".join(row[0] for row in await con.fetch("EXPLAIN " + depth_statement(SENDS)))
    finally:
        await con.close()
    assert "sends_due" in plan
    assert "sends_quarantined" in plan
    assert "Seq Scan on sends" not in plan


async def test_the_loops_of_a_process_fill_the_metrics_and_end_when_told(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queues, "SAMPLE_SECONDS", 0.05)
    async with open_service(load_settings(environ)) as service:
        async with working(service.workers, service.phase.stop, service.metrics):

            async def filled() -> bool:
                names = {s["name"] for s in service.metrics.samples() if s["value"]}
                return {"ccl_component_up", "ccl_event_loop_lag_seconds_count", "ccl_filesystem_size_bytes"} <= names

            await eventually(filled, within=30)
        assert service.metrics.total("ccl_worker_failures_total") == 0
