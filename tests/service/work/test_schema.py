"""Background work on a schema that has left the version behind: nothing is claimed until it fits again."""

import asyncio
from collections import Counter
from datetime import timedelta
from uuid import uuid4

from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from ccl_service.client import connect
from ccl_service.leads.imports import IMPORTS
from ccl_service.leads.model import LeadDraft
from ccl_service.main import WORK_TABLES
from ccl_service.platform.config import Settings
from ccl_service.platform.db import PoolDb
from ccl_service.platform.health import CACHE_SECONDS, DatabaseProbe
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import Queue, Work, WorkLoop
from tests.service.conftest import ROOT_KEY
from tests.service.polling import eventually
from tests.service.work.left_behind import AHEAD, USUAL, holding_back, said

TABLES = {table.name for table in WORK_TABLES}


def outcomes(metrics: Metrics) -> set[str]:
    """The tables of which a row has been worked."""
    return {s["labels"]["queue"] for s in metrics.samples() if s["name"] == "ccl_work_outcomes_total" and s["value"]}


async def claims(db: PoolDb) -> int:
    """Claims of all rows of work."""
    return sum([await db.fetchval(f"SELECT coalesce(sum(claims), 0) FROM {table}") for table in TABLES])


async def enqueue_one_of_each(client: TestClient[web.Request, web.Application]) -> None:
    async with connect(str(client.make_url("")).rstrip("/"), key=ROOT_KEY) as ccl:
        await ccl.leads.create(LeadDraft(first_name="Ana", email="ana@example.com"))
        await ccl.leads.upload(b"first_name,email\nBen,ben@example.com\n")
        await ccl.chat.say((await ccl.chat.open()).visitor_token, "hello")


async def test_a_process_of_background_work_waits_until_the_schema_fits(
    client: TestClient[web.Request, web.Application], settings: Settings, db: PoolDb
) -> None:
    await enqueue_one_of_each(client)
    await db.execute(AHEAD)
    async with holding_back(settings, TABLES) as (jobs, logs):
        assert (await claims(db), outcomes(jobs.metrics)) == (0, set())
        await db.execute(USUAL)

        async def all_are_worked() -> bool:
            return outcomes(jobs.metrics) == TABLES

        await eventually(all_are_worked)
    for action in ("work.held_back", "work.goes_on"):
        told = said(logs, action)
        assert {table: told[table] for table in TABLES} == dict.fromkeys(TABLES, 1)


async def test_a_running_loop_stops_claiming_when_the_schema_leaves_it_behind_and_says_so_once(
    database_url: str, db: PoolDb
) -> None:
    probe = DatabaseProbe(database_url, clock=asyncio.get_running_loop().time)
    worked, asked = list[Work](), 0

    async def fits() -> bool:
        nonlocal asked
        asked += 1
        return await probe.fits()

    async def handle(work: Work) -> None:
        worked.append(work)
        await db.execute(
            "UPDATE imports SET state = 'done', claim_id = NULL, lease_until = NULL WHERE id = $1", work.id
        )

    async def add() -> None:
        await db.execute("INSERT INTO imports (id, state) VALUES ($1, 'queued')", uuid4())

    async def all_worked() -> bool:
        return await db.fetchval("SELECT count(*) FROM imports WHERE state = 'queued'") == 0

    stop = asyncio.Event()
    with capture_logs() as logs:
        loop = WorkLoop(Queue(db, IMPORTS), handle, poll=timedelta(milliseconds=20), fits=fits)
        running = asyncio.create_task(loop.run(stop))
        try:
            await add()
            await eventually(all_worked)
            await db.execute(AHEAD)

            async def holds_back() -> bool:
                return bool(said(logs, "work.held_back"))

            await eventually(holds_back)
            await add()
            before = asked

            async def looked_again() -> bool:
                return asked >= before + 3

            await eventually(looked_again)
            assert (len(worked), await db.fetchval("SELECT count(*) FROM imports WHERE claims = 0")) == (1, 1)
            await db.execute(USUAL)
            await eventually(all_worked)
        finally:
            stop.set()
            await running
            await probe.close()
    assert said(logs, "work.held_back") == said(logs, "work.goes_on") == Counter(["imports"])


async def test_the_schema_is_asked_about_once_a_second_however_often_work_is_looked_for(
    database_url: str, db: PoolDb
) -> None:
    now = 0.0
    probe = DatabaseProbe(database_url, clock=lambda: now)
    try:
        assert await probe.fits()
        await db.execute(AHEAD)
        assert await probe.fits()
        now = CACHE_SECONDS
        assert not await probe.fits()
    finally:
        await probe.close()


async def test_a_database_that_is_away_says_nothing_against_the_version(unused_tcp_port: int) -> None:
    probe = DatabaseProbe(f"postgresql://ccl@127.0.0.1:{unused_tcp_port}/ccl", clock=lambda: 0.0)
    assert (await probe.check()).state == "down"
    assert await probe.fits()
