"""Checks against servers that can be copied and frozen."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta

import psutil
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import SecretStr

from ccl_contract.readiness import ReadinessReport
from ccl_service.platform.config import Settings
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.migrate import migrate
from tests.service.platform.checks.asking import status_and_reason
from tests.service.servers import Server, primary, standby

Client = TestClient[web.Request, web.Application]
#: What the operator waits for the gate.
GATE_SECONDS = 5.0


@contextlib.contextmanager
def frozen(server: Server) -> Iterator[None]:
    """No process of the server runs; backends are sessions of their own, so the group does not reach them."""
    postmaster = psutil.Process(server.process.pid)
    stopped = [postmaster, *postmaster.children(recursive=True)]
    for process in stopped:
        # a worker may have come to its end meanwhile
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A migrated server of this module's own."""
    with primary() as started:
        seconds = timedelta(seconds=30)
        asyncio.run(migrate(started.url(), contract=True, answer_within=seconds, lock_within=seconds))
        yield started


@pytest.fixture
def database_url(server: Server) -> str:
    return server.url()


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    with standby(server) as copy:
        yield copy


async def test_a_replica_that_streams_passes_until_it_hangs(
    settings: Settings, server: Server, replica: Server
) -> None:
    read = settings.model_copy(update={"database_replica_urls": (SecretStr(replica.url()),)})
    db = PoolDb(server.url(), PoolSize(connections=2))
    await db.open()
    try:
        assert await status_and_reason("ReadReplicas", read, db) == ("pass", "")
        with frozen(replica):
            assert await status_and_reason("ReadReplicas", read, db) == ("warn", "NoAnswer")
    finally:
        await db.close()


async def test_the_gate_answers_in_time_while_the_database_is_frozen(
    client: Client, root: dict[str, str], server: Server
) -> None:
    url = "/api/monitoring/production-readiness"
    await client.get(url, headers=root)
    with frozen(server):
        started = time.monotonic()
        report = ReadinessReport.model_validate_json(await (await client.get(url, headers=root)).text())
        took = time.monotonic() - started
    found = {check.id: (check.status.value, check.reason) for check in report.checks}
    assert {name: found[name] for name in ("DatabaseReachable", "SchemaCompatible", "ClockSkew", "PoolFits")} == {
        "DatabaseReachable": ("fail", "NoAnswer"),
        "SchemaCompatible": ("fail", "Unknown"),
        "ClockSkew": ("warn", "Unknown"),
        "PoolFits": ("warn", "Unknown"),
    }
    assert took < GATE_SECONDS
