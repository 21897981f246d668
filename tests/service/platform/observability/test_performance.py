"""The performance view: this process, the fleet, the database."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from ccl_service.platform import performance
from ccl_service.platform.database_view import read_database
from ccl_service.platform.db import PoolDb
from ccl_service.platform.instances import Heartbeat, Instance
from ccl_service.platform.performance import Publisher, read_fleet, views
from ccl_service.platform.telemetry.windows import Windows
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
ROUTE = ("POST", "/api/leads")


async def pod(db: PoolDb, name: str, *seconds: float, errors: int = 0) -> Publisher:
    """A live process that answered in these times."""
    await Heartbeat(db, Instance(name, "rev-1", "web")).beat()
    windows = Windows(asyncio.get_running_loop().time)
    for number, taken in enumerate(seconds):
        windows.add(ROUTE, taken, error=number < errors)
    publisher = Publisher(db, name, windows)
    await publisher.publish()
    return publisher


async def test_the_fleet_is_the_merge_of_the_live_processes(db: PoolDb) -> None:
    await pod(db, "pod-1", *[0.01] * 98)
    await pod(db, "pod-2", 1.0, 1.0, errors=2)
    fleet = await read_fleet(db)
    assert [one["pod"] for one in fleet.instances] == ["pod-1", "pod-2"]
    for view in views(fleet.windows):
        assert (view["requests"], view["errors"], view["error_rate"]) == (100, 2, 0.02)
        assert view["p50_ms"] == pytest.approx(10, rel=0.02)
        assert view["p95_ms"] == pytest.approx(10, rel=0.02)
        assert view["p99_ms"] == pytest.approx(1000, rel=0.02)


async def test_a_process_that_is_not_seen_any_more_leaves_the_fleet(db: PoolDb) -> None:
    await pod(db, "pod-1", 0.01)
    await pod(db, "pod-2", 0.01)
    await db.execute("UPDATE instances SET seen_at = now() - interval '31 seconds' WHERE pod = 'pod-2'")
    assert [one["pod"] for one in (await read_fleet(db)).instances] == ["pod-1"]


async def test_a_process_that_publishes_again_replaces_what_it_said(db: PoolDb) -> None:
    publisher = await pod(db, "pod-1", 0.01)
    await publisher.publish()
    assert views((await read_fleet(db)).windows)[0]["requests"] == 1


@pytest.mark.parametrize(
    "windows",
    [
        '{"1": [["POST", "/api/leads", 0, [[400, 1]], 0, "one more"]]}',
        '{"1": [["POST", "/api/leads", 0, [[400, 1, 0.3]], 0]]}',
        '{"1": {"POST /api/leads": [0, 1]}}',
        '{"1": [["POST", "/api/leads", 0, [[400, 1]], 0]], "by": "quarter"}',
        "[]",
    ],
)
async def test_a_process_of_another_version_that_publishes_in_a_form_of_its_own_is_named_and_not_counted(
    client: Client, root: dict[str, str], db: PoolDb, windows: str
) -> None:
    await pod(db, "pod-1", 0.01)
    await pod(db, "pod-2", 1.0, 1.0)
    await db.execute("UPDATE instance_performance SET windows = $1::jsonb WHERE pod = 'pod-2'", windows)
    answer = await client.get("/api/monitoring/performance", headers=root)
    assert answer.status == 200
    fleet = (await answer.json())["fleet"]
    assert [(one["pod"], one["counted"]) for one in fleet["instances"]] == [("pod-1", True), ("pod-2", False)]
    assert [window["requests"] for window in fleet["windows"]] == [1, 1, 1]


async def test_a_process_that_goes_takes_its_figures_along(db: PoolDb) -> None:
    await pod(db, "pod-1", 0.01)
    await db.execute("DELETE FROM instances")
    assert await db.fetchval("SELECT count(*) FROM instance_performance") == 0


async def test_a_process_that_is_not_registered_publishes_nothing(db: PoolDb) -> None:
    windows = Windows(asyncio.get_running_loop().time)
    await Publisher(db, "stranger", windows).publish()
    assert (await read_fleet(db)).instances == ()


async def test_the_loop_publishes_and_outlives_a_database_that_does_not_answer(
    db: PoolDb, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(performance, "PUBLISH", timedelta(milliseconds=20))
    await Heartbeat(db, Instance("pod-1", "rev-1", "web")).beat()
    stop = asyncio.Event()
    other = await asyncpg.connect(database_url)
    with capture_logs() as logs:
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE instance_performance IN ACCESS EXCLUSIVE MODE")
        publisher = Publisher(db, "pod-1", Windows(asyncio.get_running_loop().time))
        running = asyncio.create_task(publisher.run(stop))
        await eventually(lambda: _told(logs, "performance:publish:missed"), within=30)
        await other.close()

        async def published() -> bool:
            return bool((await read_fleet(db)).instances)

        await eventually(published, within=30)
    stop.set()
    await running


async def _told(logs: Sequence[Mapping[str, Any]], action: str) -> bool:
    return any(line.get("action") == action for line in logs)


async def test_the_view_shows_routes_by_template_over_three_windows(client: Client, root: dict[str, str]) -> None:
    await client.get("/live")
    answer = await client.get("/api/monitoring/performance", headers=root)
    seen: dict[str, Any] = await answer.json()
    assert [window["minutes"] for window in seen["process"]["windows"]] == [1, 5, 60]
    for window in seen["process"]["windows"]:
        row = next(r for r in window["routes"] if r["route"] == "/live")
        assert (row["requests"], row["errors"], row["error_rate"]) == (1, 0, 0.0)
        assert row["p50_ms"] == row["p99_ms"] > 0
    assert seen["percentiles"]["relative_error"] == 0.02
    assert seen["fleet"]["instances"] == []
    assert seen["database"]["connections"]["max"] > 0
    assert seen["unavailable"] == []


async def test_what_the_database_does_not_answer_is_left_out_and_the_process_is_still_shown(
    client: Client, root: dict[str, str], database_url: str
) -> None:
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("BEGIN")
        await other.execute("LOCK TABLE instance_performance IN ACCESS EXCLUSIVE MODE")
        seen = await (await client.get("/api/monitoring/performance", headers=root)).json()
    finally:
        await other.close()
    assert seen["unavailable"] == ["fleet"]
    assert seen["fleet"] is None
    assert len(seen["process"]["windows"]) == 3


async def test_a_slow_statement_is_shown_by_its_name_and_never_by_its_text(db: PoolDb, database_url: str) -> None:
    other = await asyncpg.connect(database_url)
    slow = asyncio.create_task(other.execute("-- lead_report: all of them\nSELECT pg_sleep(600), 'jane@example.com'"))
    try:
        rows: list[Any] = []

        async def shown() -> bool:
            rows[:] = (await read_database(db))["slow"]
            return bool(rows)

        await eventually(shown, within=30)
        assert [row["statement"] for row in rows] == ["lead_report"]
        assert rows[0]["seconds"] >= 1
        assert "jane" not in str(rows)
    finally:
        other.terminate()
        await asyncio.gather(slow, return_exceptions=True)


async def test_an_open_snapshot_and_its_age_are_shown(db: PoolDb, database_url: str) -> None:
    other = await asyncpg.connect(database_url)
    try:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.execute("SELECT 1")
        found = (await read_database(db))["connections"]
        assert found["idle_in_transaction"] == 1
        assert found["longest_snapshot_s"] > 0
    finally:
        await other.close()


async def test_dead_rows_make_a_table_count_as_bloated(db: PoolDb) -> None:
    await db.execute("CREATE TABLE messy (id int) WITH (autovacuum_enabled = false)")
    await db.execute("INSERT INTO messy SELECT generate_series(1, 1000)")
    await db.execute("UPDATE messy SET id = id")

    async def noticed() -> bool:
        await db.execute("ANALYZE messy")
        tables = {row["name"]: row for row in (await read_database(db))["tables"]}
        return bool(tables["messy"]["dead_ratio"] == 0.5 and tables["messy"]["dead_bytes"] > 0)

    await eventually(noticed, within=30)


async def test_statements_are_absent_without_the_extension_and_named_with_it(db: PoolDb) -> None:
    assert (await read_database(db))["statements"] is None
    # the server of the tests has no contrib modules: a view with the extension's columns stands in
    await db.execute("""
        CREATE VIEW pg_stat_statements AS
        SELECT (SELECT oid FROM pg_database WHERE datname = current_database()) AS dbid, 42::bigint AS queryid,
               E'-- lead_intake: one lead\nINSERT INTO leads VALUES ($1)'::text AS query, 7::bigint AS calls,
               7::bigint AS rows, 70.0::float8 AS total_exec_time, 10.0::float8 AS mean_exec_time,
               12.0::float8 AS max_exec_time""")
    (statement,) = (await read_database(db))["statements"]
    assert (statement["statement"], statement["calls"], statement["mean_ms"]) == ("lead_intake", 7, 10.0)
    assert "INSERT" not in str(statement)
