"""Metrics over time: what is written each minute, and what is answered."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.platform import history
from ccl_service.platform.db import PoolDb
from ccl_service.platform.history import Recorder
from ccl_service.platform.instances import Instance
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.windows import whole
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


async def minute(db: PoolDb, number: int, pod: str, latency: str = "[]", **values: float) -> None:
    """One row, ``number`` minutes after noon."""
    document = "{" + ", ".join(f'"{name}": {value}' for name, value in values.items()) + "}"
    await db.execute(
        "INSERT INTO metrics_history (at, pod, revision, values, latency) VALUES ($1, $2, 'r', $3::jsonb, $4::jsonb)",
        NOON + number * MINUTE,
        pod,
        document,
        latency,
    )


async def points(db: PoolDb, metric: str, *, minutes: int = 10, step: int = 1) -> list[tuple[int, float]]:
    """Minutes after noon and values."""
    found = await history.read(db, metric, since=NOON, until=NOON + minutes * MINUTE, step=step * MINUTE)
    return [((point.at - NOON) // MINUTE, point.value) for point in found]


async def test_a_sum_adds_up_processes_and_minutes(db: PoolDb) -> None:
    for number in range(4):
        await minute(db, number, "pod-1", requests=10)
        await minute(db, number, "pod-2", requests=5)
    assert await points(db, "requests") == [(0, 15), (1, 15), (2, 15), (3, 15)]
    assert await points(db, "requests", step=2) == [(0, 30), (2, 30)]


async def test_a_mean_adds_up_processes_and_averages_minutes(db: PoolDb) -> None:
    await minute(db, 0, "pod-1", memory_bytes=100)
    await minute(db, 0, "pod-2", memory_bytes=100)
    await minute(db, 1, "pod-1", memory_bytes=100)
    assert await points(db, "memory_bytes", step=2) == [(0, 150)]


async def test_a_maximum_is_that_of_any_process(db: PoolDb) -> None:
    await minute(db, 0, "pod-1", work_due=3)
    await minute(db, 1, "pod-2", work_due=8)
    assert await points(db, "work_due", step=5) == [(0, 8)]


async def test_a_ratio_weighs_by_requests_and_skips_steps_without_any(db: PoolDb) -> None:
    await minute(db, 0, "pod-1", requests=90, errors=0)
    await minute(db, 0, "pod-2", requests=10, errors=5)
    await minute(db, 1, "pod-1", requests=0, errors=0)
    assert await points(db, "error_rate") == [(0, 0.05)]


async def test_percentiles_come_from_the_merged_histograms(db: PoolDb) -> None:
    metrics = Metrics()
    for _ in range(99):
        metrics.answered("GET", "/live", 200, 0.01)
    first = whole(metrics.windows.window(1)).latency
    slow = Metrics()
    slow.answered("GET", "/live", 200, 2.0)
    second = whole(slow.windows.window(1)).latency
    await minute(db, 0, "pod-1", str(first.as_pairs()))
    await minute(db, 1, "pod-2", str(second.as_pairs()))
    ((_, p50),) = await points(db, "p50_ms", step=5)
    assert p50 == pytest.approx(10, rel=0.02)
    ((_, p99),) = await points(db, "p99_ms", step=5)
    assert p99 == pytest.approx(10, rel=0.02)
    assert (await points(db, "p99_ms"))[1][1] == pytest.approx(2000, rel=0.02)


async def test_each_row_holds_what_was_added_since_the_one_before(db: PoolDb) -> None:
    metrics = Metrics()
    recorder = Recorder(db, Instance("pod-1", "rev-1", "web"), metrics)
    metrics.answered("GET", "/live", 200, 0.01)
    metrics.answered("GET", "/live", 500, 0.01)
    assert await recorder.record()
    await db.execute("UPDATE metrics_history SET at = at - interval '1 minute'")
    metrics.answered("GET", "/live", 200, 0.01)
    assert await recorder.record()
    now = datetime.now(UTC)
    for metric, wanted in (("requests", [2, 1]), ("errors", [1, 0])):
        found = await history.read(db, metric, since=now - 10 * MINUTE, until=now + MINUTE, step=MINUTE)
        assert [point.value for point in found] == wanted


async def test_a_second_row_in_one_minute_is_not_written_and_its_counts_go_into_the_next(db: PoolDb) -> None:
    metrics = Metrics()
    recorder = Recorder(db, Instance("pod-1", "rev-1", "web"), metrics)
    metrics.count("ccl_leads_created", "api")
    # this minute's row and the next ones', whatever the clock does meanwhile
    await db.execute(
        """INSERT INTO metrics_history (at, pod, revision, values)
           SELECT date_trunc('minute', now()) + g * interval '1 minute', 'pod-1', 'rev-1', '{}'
             FROM generate_series(0, 5) AS g"""
    )
    assert not await recorder.record()
    await db.execute("DELETE FROM metrics_history")
    metrics.count("ccl_leads_created", "api")
    assert await recorder.record()
    assert await db.fetchval("SELECT (values ->> 'leads_created')::float8 FROM metrics_history") == 2


async def test_the_loop_writes_every_minute(db: PoolDb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "EVERY", timedelta(milliseconds=20))
    stop = asyncio.Event()
    running = asyncio.create_task(Recorder(db, Instance("pod-1", "rev-1", "web"), Metrics()).run(stop))

    async def written() -> bool:
        return bool(await db.fetchval("SELECT count(*) FROM metrics_history"))

    await eventually(written, within=30)
    stop.set()
    await running


async def test_what_was_counted_after_the_last_row_is_written_at_the_end(db: PoolDb) -> None:
    metrics = Metrics()
    recorder = Recorder(db, Instance("pod-1", "rev-1", "web"), metrics)
    metrics.count("ccl_leads_created", "api")
    assert await recorder.record()
    metrics.count("ccl_leads_created", "api", by=2)
    stop = asyncio.Event()
    running = asyncio.create_task(recorder.run(stop))
    await asyncio.sleep(0)  # it waits for the end of its minute
    stop.set()
    await asyncio.wait_for(running, 30)
    rows = await db.fetch("SELECT (values ->> 'leads_created')::float8 FROM metrics_history ORDER BY at")
    assert [row[0] for row in rows] == [1, 2]


async def test_the_view_answers_with_unit_and_points(client: Client, db: PoolDb, root: dict[str, str]) -> None:
    await minute(db, 0, "pod-1", requests=7)
    query = {"metric": "requests", "from": "2026-11-23T11:30:00Z", "to": "2026-11-23T12:30:00Z", "step": "600"}
    answer = await client.get("/api/monitoring/history", params=query, headers=root)
    seen: dict[str, Any] = await answer.json()
    assert answer.status == 200
    assert (seen["unit"], seen["aggregate"], seen["step_s"]) == ("requests", "sum", 600)
    assert seen["points"] == [{"at": "2026-11-23T12:00:00Z", "value": 7.0}]


async def test_the_last_hour_is_the_default(client: Client, root: dict[str, str]) -> None:
    answer = await client.get("/api/monitoring/history", params={"metric": "p95_ms"}, headers=root)
    seen = await answer.json()
    assert datetime.fromisoformat(seen["to"]) - datetime.fromisoformat(seen["from"]) == timedelta(hours=1)
    assert seen["points"] == []


@pytest.mark.parametrize(
    "query",
    [
        {"metric": "secrets"},
        {"metric": "requests", "step": "59"},
        {"metric": "requests", "from": "2026-11-23T12:00:00"},
        {"metric": "requests", "from": "2026-11-23T12:00:00Z", "to": "2026-11-23T12:00:00Z"},
        {"metric": "requests", "from": "2025-11-23T12:00:00Z", "to": "2026-11-23T12:00:00Z", "step": "60"},
        {},
    ],
)
async def test_a_question_without_a_bounded_answer_is_refused(
    client: Client, root: dict[str, str], query: dict[str, str]
) -> None:
    answer = await client.get("/api/monitoring/history", params=query, headers=root)
    assert answer.status == 422, await answer.text()


@pytest.mark.parametrize("metric", sorted(history.SERIES))
async def test_every_metric_can_be_asked_for(db: PoolDb, metric: str) -> None:
    await Recorder(db, Instance("pod-1", "rev-1", "web"), Metrics()).record()
    now = datetime.now(UTC)
    await history.read(db, metric, since=now - timedelta(hours=1), until=now + MINUTE, step=MINUTE)
