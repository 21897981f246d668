"""An audit trail on this test's database, and the hands of somebody who owns that database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from uuid import uuid4

import asyncpg
import pytest

from ccl_service.platform.audit.model import PURPOSE, Caller, Macs
from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import PoolDb
from ccl_service.platform.keys import KeyName, KeyRing, KeySource

SECRET = "jwt-secret-of-the-service-tests-0001"
ADMIN = Caller("root", "internal-api", "static", "request-0001", "203.0.113.9")


def now() -> datetime:
    return datetime.now(UTC)


def ring(secret: str) -> KeyRing:
    """A ring with one static key."""
    return KeyRing({KeyName.JWT: KeySource(value=secret)})


@pytest.fixture
def keys() -> KeyRing:
    return ring(SECRET)


@pytest.fixture
def macs(keys: KeyRing) -> Macs:
    return Macs(keys.derived(PURPOSE))


@pytest.fixture
def audit(keys: KeyRing) -> Audit:
    return Audit(keys, now=now, new_id=uuid4)


@pytest.fixture
def sealer(db: PoolDb, keys: KeyRing) -> Sealer:
    """Three rows make a full batch."""
    return Sealer(db, keys, now=now, batch_rows=3)


Record = Callable[[int], Awaitable[None]]


@pytest.fixture
def record(db: PoolDb, audit: Audit) -> Record:
    """Write that many rows."""

    async def some(count: int) -> None:
        for number in range(count):
            changes = {"state": f"state-{number}"}
            await audit.record(db, ADMIN, "thing:change", "thing", f"thing-{number}", changes=changes)

    return some


Seal = Callable[[], Awaitable[None]]


@pytest.fixture
def seal_all(sealer: Sealer) -> Seal:
    """Seal until nothing is left."""

    async def run() -> None:
        while await sealer.seal():
            pass

    return run


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A superuser's session in which no trigger fires."""
    con = await asyncpg.connect(database_url)
    await con.execute("SET session_replication_role = replica")
    try:
        yield con
    finally:
        await con.close()
