"""Each rule takes what is old enough and nothing else."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from ccl_contract.maintenance import TaskStatus
from ccl_service.leads.imports import CHUNK_BYTES, Imports
from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.maintain.retention import RULES, Retention
from ccl_service.platform.maintain.run import Upkeep, maintain, tasks
from tests.service.platform.maintain import rows
from tests.service.platform.maintain.conftest import Open
from tests.service.platform.maintain.rows import put

Maker = Callable[[Db, str], Awaitable[str]]
BY_NAME = {rule.name: rule for rule in RULES}


def made(statement: str, **values: str) -> Maker:
    return lambda db, age: put(db, statement, age, **values)


async def agent_run(db: Db, age: str) -> str:
    return await put(
        db,
        "INSERT INTO agent_runs (id, agent, outcome, prompt_tokens, completion_tokens, usage_estimated, tools,"
        " started_at, finished_at) VALUES ('{id}', 'a', 'ok', 0, 0, false, '{{}}', now() - interval '{age}', now())",
        age,
    )


async def send(db: Db, age: str) -> str:
    await put(db, rows.LEAD)
    return await put(db, rows.SEND, age, state="delivered")


async def send_event(db: Db, age: str) -> str:
    await send(db, "1 day")
    return await put(db, rows.SEND_EVENT, age)


async def key_secret(db: Db, age: str) -> str:
    await put(db, rows.API_KEY, column="last_used_at")
    return await put(
        db,
        "INSERT INTO api_key_secrets (prefix, key_id, hash, valid_until)"
        " SELECT '{id}', id, '', now() - interval '{age}' FROM api_keys LIMIT 1",
        age,
    )


#: Rule → (what makes a row of an age, an age that goes, an age that stays).
SCENES: dict[str, tuple[Maker, str, str]] = {
    "chat": (made(rows.CONVERSATION), "31 days", "29 days"),
    "agent-runs": (agent_run, "91 days", "89 days"),
    "mail-events": (send_event, "7 months", "5 months"),
    "mail": (send, "7 months", "5 months"),
    "leads": (made(rows.LEAD), "25 months", "23 months"),
    "imports-unfinished": (
        made("INSERT INTO imports (id, state, due_at) VALUES ('{id}', 'receiving', now() - interval '{age}')"),
        "2 days",
        "1 hour",
    ),
    "imports": (made(rows.IMPORT, state="done"), "91 days", "89 days"),
    "idempotency-keys": (
        made(
            "INSERT INTO idempotency_keys (principal, route, key, body_sha256, status, answer, created_at)"
            " VALUES ('p', 'r', '{id}', '', 200, '{{}}', now() - interval '{age}')"
        ),
        "25 hours",
        "23 hours",
    ),
    "webhook-tokens": (
        made("INSERT INTO webhook_tokens (token_hash, seen_at) VALUES ('{id}'::bytea, now() - interval '{age}')"),
        "25 hours",
        "10 hours",
    ),
    "key-secrets": (key_secret, "31 days", "29 days"),
    "keys-expired": (made(rows.API_KEY, column="expires_at"), "91 days", "89 days"),
    "keys-revoked": (made(rows.API_KEY, column="revoked_at"), "91 days", "89 days"),
    "instances": (
        made(
            "INSERT INTO instances (pod, revision, role, seen_at) VALUES ('{id}', 'r', 'web', now() - interval '{age}')"
        ),
        "2 days",
        "1 hour",
    ),
    "metrics-history": (
        made(
            'INSERT INTO metrics_history (at, pod, revision, "values")'
            " VALUES (now() - interval '{age}', '{id}', 'r', '{{}}')"
        ),
        "31 days",
        "29 days",
    ),
}


async def run_rule(upkeep: Upkeep, rule: Retention) -> tuple[TaskStatus, int]:
    own = [one for one in tasks([rule], []) if one[0] == f"retention:{rule.name}"]
    report = await maintain(upkeep, own, clock=lambda: 0.0)
    return report.tasks[0].status, report.tasks[0].changed


async def count(db: Db, table: str) -> int:
    found: int = await db.fetchval(f"SELECT count(*) FROM {table}")
    return found


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_the_old_row_goes_and_the_young_one_stays(db: PoolDb, upkeep: Open, rule: Retention) -> None:
    make, old, young = SCENES[rule.name]
    await make(db, old)
    await make(db, young)
    before = await count(db, rule.table)
    assert await run_rule(upkeep(dry=True), rule) == (TaskStatus.OK, 1)
    assert await count(db, rule.table) == before
    assert await run_rule(upkeep(), rule) == (TaskStatus.OK, 1)
    assert await count(db, rule.table) == before - 1
    assert await run_rule(upkeep(), rule) == (TaskStatus.OK, 0)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
async def test_the_statement_finds_its_rows_by_an_index_or_in_a_small_table(db: PoolDb, rule: Retention) -> None:
    small = {"imports", "api_keys", "api_key_secrets", "instances"}
    async with db.transaction() as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")
        statement = rule.purge.replace("$1", str(rule.batch)).replace("$2", "NULL")
        plan = "\n".join(line[0] for line in await tx.fetch(f"EXPLAIN {statement}"))
    assert rule.table in small or "Index" in plan, plan


@pytest.mark.parametrize("state", ["queued", "sending", "unknown", "quarantined"])
async def test_a_send_that_has_not_come_to_an_end_stays(db: PoolDb, upkeep: Open, state: str) -> None:
    await put(db, rows.LEAD)
    await put(db, rows.SEND, "12 months", state=state)
    assert await run_rule(upkeep(), BY_NAME["mail"]) == (TaskStatus.OK, 0)


async def test_an_old_lead_about_whom_something_happened_lately_stays(db: PoolDb, upkeep: Open) -> None:
    lead = await put(db, rows.LEAD, "30 months")
    await db.execute(f"INSERT INTO lead_events (lead_id, kind, actor) VALUES ('{lead}', 'mail.opened', 'x')")
    assert await run_rule(upkeep(), BY_NAME["leads"]) == (TaskStatus.OK, 0)


async def test_what_belongs_to_a_lead_goes_with_it_and_suppressions_stay(db: PoolDb, upkeep: Open) -> None:
    await put(db, rows.LEAD, "30 months")
    await put(db, rows.SEND, "30 months", state="delivered")
    await db.execute(
        "INSERT INTO suppressions (kind, value_hash, reason, created_at)"
        " VALUES ('email', 'x', 'opt_out', now() - interval '10 years')"
    )
    assert await run_rule(upkeep(), BY_NAME["leads"]) == (TaskStatus.OK, 1)
    tables = ("leads", "lead_keys", "lead_events", "enrolments", "sends", "suppressions")
    assert [await count(db, table) for table in tables] == [0, 0, 0, 0, 0, 1]


async def test_an_import_whose_file_still_comes_stays_however_long_it_takes(db: PoolDb, upkeep: Open) -> None:
    staging = Imports(db, new_id=uuid4, wake=lambda: None)

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * CHUNK_BYTES
        await db.execute(
            "UPDATE imports SET created_at = now() - interval '2 days', due_at = now() - interval '2 days'"
        )
        yield b"x" * CHUNK_BYTES
        assert await run_rule(upkeep(), BY_NAME["imports-unfinished"]) == (TaskStatus.OK, 0)

    assert (await staging.get(await staging.stage(slowly())))["state"] == "queued"


async def test_a_conversation_with_a_turn_at_work_stays(db: PoolDb, upkeep: Open) -> None:
    conversation = await put(db, rows.CONVERSATION, "31 days")
    await db.execute(
        "INSERT INTO turns (id, conversation_id, turn, claim_id, lease_until)"
        f" VALUES (gen_random_uuid(), '{conversation}', 1, gen_random_uuid(), now() + interval '1 minute')"
    )
    assert await run_rule(upkeep(), BY_NAME["chat"]) == (TaskStatus.OK, 0)


async def test_a_row_that_somebody_holds_does_not_hold_the_run_up(db: PoolDb, upkeep: Open) -> None:
    held = await put(db, rows.CONVERSATION, "31 days")
    await put(db, rows.CONVERSATION, "31 days")
    async with db.transaction() as tx:
        await tx.execute(f"SELECT FROM conversations WHERE id = '{held}' FOR UPDATE")
        assert await run_rule(upkeep(), BY_NAME["chat"]) == (TaskStatus.OK, 1)


async def test_more_than_a_batch_goes_in_several_and_each_leaves_an_audit_row(db: PoolDb, upkeep: Open) -> None:
    await db.execute(
        "INSERT INTO conversations (id, created_at, last_at) SELECT gen_random_uuid(), now() - interval '40 days',"
        " now() - interval '40 days' FROM generate_series(1, 450)"
    )
    assert await run_rule(upkeep(), BY_NAME["chat"]) == (TaskStatus.OK, 450)
    told = await db.fetch("SELECT action, principal_id, object_kind, objects FROM audit_log ORDER BY id")
    assert [tuple(row) for row in told] == [
        ("retention:purged", "maintain", "conversations", number) for number in (200, 200, 50)
    ]


async def test_when_time_is_over_the_rest_is_left_to_the_next_run(db: PoolDb, upkeep: Open) -> None:
    await db.execute(
        "INSERT INTO conversations (id, created_at, last_at) SELECT gen_random_uuid(), now() - interval '40 days',"
        " now() - interval '40 days' FROM generate_series(1, 450)"
    )
    left = iter([1.0, 1.0, 0.0])
    assert await run_rule(upkeep(seconds_left=lambda: next(left)), BY_NAME["chat"]) == (TaskStatus.PARTIAL, 200)
    assert await run_rule(upkeep(), BY_NAME["chat"]) == (TaskStatus.OK, 250)


async def test_an_open_snapshot_does_not_make_the_batches_slower_and_slower(db: PoolDb, upkeep: Open) -> None:
    """The entries read by the last batch stay as few as those of the first."""
    await db.execute(
        "INSERT INTO idempotency_keys (principal, route, key, body_sha256, status, answer, created_at)"
        " SELECT 'p', 'r', g::text, '', 200, '{}', now() - interval '9 days' + g * interval '1 s'"
        " FROM generate_series(1, 20000) g"
    )
    await db.execute("ANALYZE idempotency_keys")
    rule = BY_NAME["idempotency-keys"]

    async def entries_read(age: Any) -> tuple[int, Any]:
        async with db.transaction() as tx:
            plan = await tx.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {rule.purge}", 500, age)
            youngest = await tx.fetchval("SELECT min(created_at) FROM idempotency_keys")
        return json.loads(plan)[0]["Plan"]["Shared Hit Blocks"], youngest

    async with db.transaction() as reader:
        await reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM idempotency_keys")
        first, age = await entries_read(None)
        for _ in range(20):
            last, age = await entries_read(age)
        from_the_start, _ = await entries_read(None)
    assert last < first * 2
    assert from_the_start > last
