"""``ccl-service audit``: what a person or a cron job is told, and by which exit code."""

import json
from typing import Any

import pytest

from ccl_service.platform.audit.model import Head
from ccl_service.platform.db import PoolDb
from tests.service.platform.audit.conftest import SECRET, Record, Seal
from tests.service.platform.console import ccl_service


@pytest.fixture
async def trail(record: Record, seal_all: Seal) -> None:
    """Five rows in two batches."""
    await record(5)
    await seal_all()


@pytest.fixture
def few(database_url: str) -> dict[str, str]:
    return {"DATABASE_URL": database_url, "JWT_SECRET": SECRET}


@pytest.mark.usefixtures("trail")
async def test_a_sound_trail_exits_0_and_shows_the_head_to_keep(few: dict[str, str], db: PoolDb) -> None:
    done = await ccl_service("audit", "verify", environ=few)
    lines = done.out.splitlines()
    assert (done.code, lines[0]) == (0, "5 rows in 2 batches, 0 not sealed yet")
    head = Head.parse(lines[1].removeprefix("head "))
    assert head.meets(Head(5, await db.fetchval("SELECT hash FROM audit_log WHERE seq = 5")))
    again = await ccl_service("audit", "verify", "--expect-head", str(head), environ=few)
    assert again.code == 0


@pytest.mark.usefixtures("trail")
async def test_a_broken_trail_exits_1_and_names_the_first_bad_row(few: dict[str, str], owner: Any) -> None:
    await owner.execute("UPDATE audit_log SET object_id = 'other' WHERE seq = 2")
    done = await ccl_service("audit", "verify", environ=few)
    assert (done.code, done.err) == (1, "ccl-service: audit: the row was changed or moved (seq 2, id 2)\n")


@pytest.mark.usefixtures("trail")
async def test_a_missing_tail_exits_1_when_a_later_head_is_expected(few: dict[str, str]) -> None:
    done = await ccl_service("audit", "verify", "--expect-head", f"9:{'0' * 32}", environ=few)
    assert done.code == 1
    assert "the tail is missing" in done.err


@pytest.mark.usefixtures("trail")
async def test_without_the_key_it_exits_3(few: dict[str, str]) -> None:
    done = await ccl_service("audit", "verify", environ=few | {"JWT_SECRET": "another-secret-of-thirty-two-bytes"})
    assert done.code == 3
    assert "not held here" in done.err


async def test_a_head_that_is_none_is_refused(few: dict[str, str]) -> None:
    done = await ccl_service("audit", "verify", "--expect-head", "nonsense", environ=few)
    assert (done.code, done.err) == (1, "ccl-service: --expect-head: a head is <seq>:<32 hex digits>\n")


@pytest.mark.usefixtures("trail")
async def test_the_export_holds_the_chain_in_order_and_goes_on_where_it_stopped(few: dict[str, str]) -> None:
    done = await ccl_service("audit", "export", environ=few)
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [row["seq"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["action"] for row in rows} == {"thing:change"}
    later = await ccl_service("audit", "export", "--after", "3", environ=few)
    assert [json.loads(line)["seq"] for line in later.out.splitlines()] == [4, 5]
    none = await ccl_service("audit", "export", "--until", "2020-01-01", environ=few)
    assert (none.code, none.out) == (0, "")
