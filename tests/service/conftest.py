"""A real PostgreSQL and a real Redis for the service tests.

One server per session, one migrated template, one database per test copied from it.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web_runner import BaseRunner

from ccl_service.main import Service, open_service, wall_clock
from ccl_service.platform.config import Settings, load_settings
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.http import Clock
from ccl_service.platform.migrate import migrate
from ccl_service.platform.server import runner
from hack.ports import free_port
from hack.postgres import start_postgres
from tests.volatile import volatile_folder

os.environ.setdefault("PGSERVER_POSTGRES_VERSION", "16")
TEMPLATE = "ccl_template"
ROOT_KEY = "root-key-of-the-service-tests-00001"
_NUMBERS = itertools.count(1)


def with_database(dsn: str, name: str) -> str:
    """The same server, another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL 16 server of this session's own; durability is off because nothing outlives it."""
    with volatile_folder("ccl-pg-") as folder:
        server = start_postgres(folder / "data", version=16, cleanup_mode="delete")
        try:
            for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off", "jit = off"):
                server.psql(f"ALTER SYSTEM SET {setting}")
            server.psql("SELECT pg_reload_conf()")
            yield server.get_uri()
        finally:
            server.cleanup()


@pytest.fixture(scope="session")
def migrated_template(postgres: str) -> str:
    """A database with all migrations applied, for ``CREATE DATABASE … TEMPLATE``; returns the server's URL."""

    async def make() -> None:
        await run_admin(postgres, f"CREATE DATABASE {TEMPLATE}")
        await migrate(
            with_database(postgres, TEMPLATE),
            contract=True,
            answer_within=timedelta(seconds=10),
            lock_within=timedelta(seconds=10),
        )

    asyncio.run(make())
    return postgres


async def run_admin(dsn: str, statement: str) -> None:
    """One statement on a connection of its own."""
    con = await asyncpg.connect(dsn)
    try:
        await con.execute(statement)
    finally:
        await con.close()


@contextlib.asynccontextmanager
async def fresh_database(server: str, *, template: str = "template1") -> AsyncIterator[str]:
    """The URL of a new database that is dropped afterwards, connections or not."""
    name = f"t{os.getpid()}_{next(_NUMBERS)}"
    await run_admin(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield with_database(server, name)
    finally:
        await run_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database_url(migrated_template: str) -> AsyncIterator[str]:
    """A migrated database of this test's own."""
    async with fresh_database(migrated_template, template=TEMPLATE) as url:
        yield url


@pytest.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """A database without any migration."""
    async with fresh_database(postgres) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[PoolDb]:
    """The service's pool on this test's database."""
    pool = PoolDb(database_url, PoolSize(connections=5))
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
def environ(database_url: str) -> dict[str, str]:
    """A development environment on this test's database; override it to change variables."""
    return variables(database_url)


def variables(database_url: str) -> dict[str, str]:
    """A development environment on a database."""
    return {
        "CCL_ENV": "development",
        "DATABASE_URL": database_url,
        "DB_POOL_SIZE": "5",
        "INTERNAL_API_KEY": ROOT_KEY,
        "JWT_SECRET": "jwt-secret-of-the-service-tests-0001",
        "SESSION_SECRET": "session-secret-of-the-service-tests-1",
        "RATE_LIMIT_MAX_REQUESTS": "10000",
        "CORS_ORIGIN": "https://cars.example.com",
        "POD_NAME": "pod-1",
        "CCL_REVISION": "rev-1",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    """``environ`` as settings."""
    return load_settings(environ)


@pytest.fixture
def clock() -> Clock:
    """The time; override it with a moment that stands still where a window must not end."""
    return wall_clock


@pytest.fixture
async def service(settings: Settings, clock: Clock) -> AsyncIterator[Service]:
    """The wired service; its workers do not run unless a test starts them with ``lifecycle.working``."""
    async with open_service(settings, clock=clock) as opened:
        yield opened


class ServiceServer(TestServer):
    """A test server with the connections that ship."""

    async def _make_runner(self, **_: object) -> BaseRunner:
        return runner(self.app)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """An HTTP client of the real application. Sends no key; see ``root``."""
    async with TestClient(ServiceServer(service.app)) as opened:
        yield opened


@pytest.fixture
def root() -> dict[str, str]:
    """The headers of a caller with the root key."""
    return {"Authorization": f"Bearer {ROOT_KEY}"}


@pytest.fixture(scope="session")
def redis_server() -> Iterator[str]:
    """The URL of a Redis of this session's own, without persistence."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_port(port, process)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(5)


def _wait_for_port(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert process.poll() is None, "redis-server ended"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise AssertionError("redis-server does not listen")


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cert.pem`` for localhost, valid for 30 days and signed by itself, and its ``key.pem``."""
    made = tmp_path_factory.mktemp("tls")
    request = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30")
    files = ("-keyout", made / "key.pem", "-out", made / "cert.pem")
    subprocess.run((*request, *subject, *files), check=True, capture_output=True)
    return made
