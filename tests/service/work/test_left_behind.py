"""Jobs that write besides claiming: on a schema that has left this version behind they do nothing, to the very end."""

import asyncio
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from ccl_service.mail.reconcile import Reconciler
from ccl_service.mail.webhook import ProviderEvent
from ccl_service.main import WORK_TABLES
from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.api_keys.model import new_secret
from ccl_service.platform.api_keys.sql import ADD, NEW
from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.config import load_settings
from ccl_service.platform.db import Db, PoolDb, PoolSize
from ccl_service.platform.gate import Fits
from ccl_service.platform.history import Recorder
from ccl_service.platform.instances import Heartbeat, Instance
from ccl_service.platform.keys import KeyName, KeyRing, KeySource
from ccl_service.platform.performance import Publisher
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.windows import Windows
from tests.service.statements import Statements
from tests.service.work.left_behind import AHEAD, holding_back, said

INSTANCE = Instance("pod-1", "rev-1", "jobs")
Run = Callable[[asyncio.Event], Awaitable[None]]


class EmptyLog:
    """A provider that has taken nothing."""

    async def events(self, begin: datetime, end: datetime) -> AsyncGenerator[ProviderEvent]:
        for event in ():
            yield event


async def heartbeat(db: Db, fits: Fits) -> Run:
    return Heartbeat(db, INSTANCE, fits=fits).run


async def performance(db: Db, fits: Fits) -> Run:
    return Publisher(db, INSTANCE.pod, Windows(asyncio.get_running_loop().time), fits=fits).run


async def history(db: Db, fits: Fits) -> Run:
    return Recorder(db, INSTANCE, Metrics(), fits=fits).run


async def key_use(db: Db, fits: Fits) -> Run:
    key, secret = uuid4(), new_secret(os.urandom)
    await db.execute(NEW, key, "used", ["leads:read"], 1, None)
    await db.execute(ADD, key, secret.prefix, secret.digest)
    directory = Directory(db, clock=asyncio.get_running_loop().time, fits=fits)
    assert await directory.grant(secret.prefix, secret.text)
    return directory.run


async def audit_sealer(db: Db, fits: Fits) -> Run:
    keys = KeyRing({KeyName.JWT: KeySource(value="jwt-secret-of-the-service-tests-0001")})
    return Sealer(db, keys, now=lambda: datetime.now(UTC), fits=fits).run


async def unknown_sends(db: Db, fits: Fits) -> Run:
    return Reconciler(db, EmptyLog(), account="a", deployment=None, fits=fits).run


JOBS = {
    "heartbeat": heartbeat,
    "performance": performance,
    "history": history,
    "key-use": key_use,
    "audit-sealer": audit_sealer,
    "unknown-sends": unknown_sends,
}


@pytest.mark.parametrize("fits", [True, False], ids=["fits", "left behind"])
@pytest.mark.parametrize("job", JOBS)
async def test_a_job_runs_statements_only_while_the_schema_fits(job: str, fits: bool, database_url: str) -> None:
    async def answer() -> bool:
        return fits

    watch, stop = Statements(), asyncio.Event()
    db = PoolDb(database_url, PoolSize(connections=1), watch=watch)
    await db.open()
    try:
        run = await JOBS[job](db, answer)
        await asyncio.sleep(0)  # the driver tells of a statement in the loop's next round
        watch.ran.clear()
        with capture_logs() as logs:
            # told to stop once it has begun, it ends its first turn, or takes its last
            working_on_it = asyncio.ensure_future(run(stop))
            asyncio.get_running_loop().call_soon(stop.set)
            await working_on_it
    finally:
        await db.close()
    assert (bool(watch.ran), job in said(logs, "work.held_back")) == (fits, not fits)


async def test_a_process_left_behind_writes_nothing_to_its_very_end(environ: dict[str, str], db: PoolDb) -> None:
    at_once = {table.name for table in WORK_TABLES} | set(JOBS) - {"history", "key-use"}
    settings = load_settings(environ | {"MAILGUN_API_KEY": "k" * 32, "MAILGUN_DOMAIN": "mg.example.com"})
    await db.execute(AHEAD)
    async with holding_back(settings, at_once) as (_, logs):
        pass  # and ends at once
    assert set(said(logs, "work.held_back")) == at_once | set(JOBS)
    assert [await rows(db, table) for table in ("instances", "instance_performance", "metrics_history")] == [0, 0, 0]


async def rows(db: Any, table: str) -> int:
    return int(await db.fetchval(f"SELECT count(*) FROM {table}"))
