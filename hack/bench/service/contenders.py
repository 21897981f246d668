"""Who is measured: the service in its variants, its peers, and aiohttp + asyncpg alone; what callers show and send.

All run in production's setting with a pool of 10 connections on uvloop, one process, proxies not trusted, lines to a
file. Granian's process is the worker that it starts.
"""

import contextlib
import itertools
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

import asyncpg

from ccl_service.leads.model import LeadDraft
from ccl_service.leads.service import Leads
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.api_keys.model import new_secret
from ccl_service.platform.api_keys.sql import ADD, NEW
from ccl_service.platform.route import Scope
from hack.bench.service.ground import migrated
from hack.bench.service.peers.leads import POOL_SIZE
from hack.bench.service.process import ROOT_KEY, Serving, started
from hack.ports import free_port

ORIGIN: Final = "https://www.bench.example"
PRODUCTION: Final = MappingProxyType(
    {
        "CCL_ENV": "production",
        "INTERNAL_API_KEY": ROOT_KEY,
        "JWT_SECRET": "jwt-secret-of-the-benchmarks-0000001",
        "SESSION_SECRET": "session-secret-of-the-benchmarks-001",
        "MAILGUN_API_KEY": "mailgun-key-of-the-benchmarks-000001",
        "MAILGUN_DOMAIN": "mg.bench.example",
        "OPENAI_API_KEY": "openai-key-of-the-benchmarks-0000001",
        "CORS_ORIGIN": ORIGIN,
        "TRUST_PROXY": "false",
        "DB_POOL_SIZE": str(POOL_SIZE),
        "RATE_LIMIT_MAX_REQUESTS": "1000000000",
        "RATE_LIMIT_WINDOW_MS": "60000",
        "CONNECTIONS_PER_IP": "0",
    }
)
PEERS: Final = "hack.bench.service.peers"
SERVICE: Final = ("-m", "ccl_service", "serve", "--no-jobs")
UVICORN: Final = (
    *("-m", "uvicorn", "--factory", f"{PEERS}.fastapi_app:create", "--port", "{port}", "--loop", "uvloop"),
    *("--http", "httptools", "--no-access-log", "--no-server-header", "--no-proxy-headers", "--log-level", "warning"),
    *("--timeout-keep-alive", "75"),
)
GRANIAN: Final = (
    *("-m", "granian", "--factory", f"{PEERS}.litestar_app:create", "--port", "{port}", "--loop", "uvloop"),
    *("--interface", "asgi", "--workers", "1", "--no-access-log", "--log-level", "warning"),
)
#: Many more than anybody sends in a minute.
UNLIMITED: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Contender:
    """One server, at a level of its log, with shared limits or without."""

    server: str
    command: Sequence[str]
    level: str = "warn"
    redis: bool = False

    @property
    def name(self) -> str:
        """What it is and what is special about it."""
        return self.server + ", REDIS_URL set" * self.redis + ", access lines" * (self.level == "info")

    @property
    def peer(self) -> bool:
        """Whether it is neither the service nor the bare limit."""
        return self.server not in {RAW.server, OURS.server}


RAW: Final = Contender("raw aiohttp + asyncpg", ("-m", f"{PEERS}.raw"))
OURS: Final = Contender("service", SERVICE)
FASTAPI: Final = Contender("FastAPI + uvicorn", UVICORN)
LITESTAR: Final = Contender("Litestar + granian", GRANIAN)
CONTENDERS: Final = (
    RAW,
    OURS,
    replace(OURS, redis=True),
    replace(OURS, level="info"),
    FASTAPI,
    replace(FASTAPI, level="info"),
    LITESTAR,
    replace(LITESTAR, level="info"),
)


@dataclass(frozen=True, slots=True)
class Ground:
    """A database with a lead to read and keys to show."""

    url: str
    lead: UUID
    #: A scoped key that may everything, one that may only scrape, one with a single request a minute.
    scoped: str = field(repr=False)
    scraper: str = field(repr=False)
    tight: str = field(repr=False)


async def prepare(url: str) -> Ground:
    """Migrate, take one lead in, make the keys."""
    async with migrated(url) as db:
        contacts = FirstContacts(new_id=uuid4, wake=lambda: None)
        leads = Leads(db, contacts, now=lambda: datetime.now(UTC), new_id=uuid4)
        draft = LeadDraft(first_name="Ann", email="ann@example.com", vehicle_interest="a used SUV", zip="02139")
        lead = (await leads.accept(draft, actor="api")).id
    con = await asyncpg.connect(url)
    try:
        scoped = await _key(con, tuple(Scope), UNLIMITED)
        scraper = await _key(con, (Scope.METRICS_SCRAPE,), UNLIMITED)
        tight = await _key(con, (Scope.LEADS_READ,), 1)
        await con.execute("ANALYZE")
    finally:
        await con.close()
    return Ground(url, lead, scoped, scraper, tight)


async def _key(con: "asyncpg.Connection[asyncpg.Record]", scopes: Sequence[Scope], per_minute: int) -> str:
    key, secret = uuid4(), new_secret(os.urandom)
    await con.execute(NEW, key, "bench", [str(scope) for scope in scopes], per_minute, None)
    await con.execute(ADD, key, secret.prefix, secret.digest)
    return secret.text


@contextlib.asynccontextmanager
async def running(contender: Contender, url: str, redis_url: str) -> AsyncIterator[Serving]:
    """The contender, ready."""
    environ = {**PRODUCTION, "DATABASE_URL": url, "LOG_LEVEL": contender.level}
    if contender.redis:
        environ["REDIS_URL"] = redis_url
    with tempfile.TemporaryFile() as lines:
        async with started(contender.command, environ, output=lines) as found:
            yield found


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """The URL of a Redis that is gone afterwards."""
    port = free_port()
    command = ("redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _listening(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _listening(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def reads(ground: Ground, key: str) -> Iterator[bytes]:
    """Requests for one lead, without end."""
    request = f"GET /api/leads/{ground.lead} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    return itertools.repeat(request)


def intakes(_: Ground, key: str) -> Iterator[bytes]:
    """Requests that bring new people, without end."""
    run = uuid4().hex
    head = f"POST /api/leads HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    for number in itertools.count():
        body = f'{{"first_name":"Ann","email":"ann{number}.{run}@example.com","zip":"02139"}}'
        yield f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
