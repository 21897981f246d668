"""What a recorded change looks like, and that it stands and falls with its effect."""

import json
from typing import Any

import asyncpg
import pytest

from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import PoolDb
from tests.service.platform.audit.conftest import ADMIN


async def only_row(db: PoolDb) -> dict[str, Any]:
    row = await db.fetchrow("SELECT * FROM audit_log")
    assert row is not None
    return dict(row)


async def test_a_row_names_caller_request_action_and_object(db: PoolDb, audit: Audit) -> None:
    await audit.record(db, ADMIN, "keys:create", "api_key", "k1", changes={"name": "scraper", "expires_at": None})
    row = await only_row(db)
    assert (row["principal_kind"], row["principal_id"], row["key_id"]) == ("root", "internal-api", "static")
    assert (row["request_id"], row["action"]) == ("request-0001", "keys:create")
    assert (row["object_kind"], row["object_id"], row["objects"]) == ("api_key", "k1", 1)
    assert sorted(json.loads(row["changes"])) == ["expires_at", "name"]


async def test_neither_values_nor_the_callers_address_are_kept(db: PoolDb, audit: Audit) -> None:
    await audit.record(db, ADMIN, "lead:change", "lead", "l1", changes={"email": "ann@example.com"})
    text = str(await only_row(db))
    assert "ann@example.com" not in text
    assert "203.0.113.9" not in text


async def test_the_row_goes_when_the_effect_is_rolled_back(db: PoolDb, audit: Audit) -> None:
    class Stop(Exception):
        pass

    async def fail_after_recording() -> None:
        async with db.transaction() as tx:
            await audit.record(tx, ADMIN, "keys:create", "api_key", "k1")
            raise Stop

    with pytest.raises(Stop):
        await fail_after_recording()
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log SET action = 'nothing'",
        "UPDATE audit_log SET seq = 1, hash = '', proven = true, action = 'nothing'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ],
)
async def test_the_database_refuses_to_rewrite_a_row(db: PoolDb, audit: Audit, statement: str) -> None:
    await audit.record(db, ADMIN, "keys:create", "api_key", "k1")
    with pytest.raises(asyncpg.RaiseError, match="append-only"):
        await db.execute(statement)


async def test_a_sealed_row_keeps_its_place(db: PoolDb, audit: Audit, seal_all: Any) -> None:
    await audit.record(db, ADMIN, "keys:create", "api_key", "k1")
    await seal_all()
    for statement in ("UPDATE audit_log SET seq = 2", "DELETE FROM audit_seals", "UPDATE audit_seals SET batch = 9"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await db.execute(statement)
