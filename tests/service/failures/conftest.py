"""A real process with the world around it in reach: its database server, the provider of mail, callers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from ccl_service.platform.migrate import migrate
from hack.fakes.mailgun import FakeMailgun, start_mailgun
from tests.service.conftest import TEMPLATE, fresh_database, run_admin, variables
from tests.service.failures.ledger import Ledger
from tests.service.mail.conftest import API_KEY, SIGNING_KEY, mail_settings
from tests.service.processes import Process, running, until_status
from tests.service.servers import Server, primary


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A PostgreSQL that may be frozen and restarted, with a migrated template."""
    with primary() as started:
        asyncio.run(_make_template(started))
        yield started


async def _make_template(server: Server) -> None:
    await run_admin(server.url(), f"CREATE DATABASE {TEMPLATE}")
    seconds = timedelta(seconds=30)
    await migrate(server.url(TEMPLATE), contract=True, answer_within=seconds, lock_within=seconds)


@pytest.fixture
async def own_database(server: Server) -> AsyncIterator[str]:
    """A migrated database on that server."""
    async with fresh_database(server.url(), template=TEMPLATE) as url:
        yield url


@pytest.fixture
async def mailgun() -> AsyncIterator[FakeMailgun]:
    """A provider that delivers everything."""
    async with start_mailgun(api_key=API_KEY, signing_key=SIGNING_KEY, retry_delays=(0.1,) * 100) as fake:
        yield fake


@dataclass(frozen=True)
class World:
    """A ready process with jobs, and what it depends on."""

    environ: dict[str, str]
    process: Process
    server: Server
    database: str
    mailgun: FakeMailgun
    ledger: Ledger

    async def until(self, status: int, **options: Any) -> None:
        """Until /ready answers so."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as http:
            await until_status(http, f"{self.process.url}/ready", status, **options)

    @contextlib.asynccontextmanager
    async def connection(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        """To the process's database."""
        con = await asyncpg.connect(self.database)
        try:
            yield con
        finally:
            await con.close()


@pytest.fixture
async def world(own_database: str, server: Server, mailgun: FakeMailgun, root: dict[str, str]) -> AsyncIterator[World]:
    environ = variables(own_database) | mail_settings(mailgun) | {"DRAIN_DELAY_MS": "500"}
    async with running(environ) as process:
        made = World(environ, process, server, own_database, mailgun, Ledger(process.url, root))
        await made.until(200)
        mailgun.webhooks.target = f"{process.url}/api/webhooks/mailgun"
        yield made
