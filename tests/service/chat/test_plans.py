"""The hot statements of the chat read only what they are about."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.chat import sql
from ccl_service.platform.db import Db

SEED = (
    "INSERT INTO conversations (id, turns) SELECT gen_random_uuid(), 3 FROM generate_series(1, 2000)",
    "INSERT INTO turns (id, conversation_id, turn, state, action)"
    " SELECT gen_random_uuid(), id, n, 'done', 'continue' FROM conversations, generate_series(1, 3) AS n",
    "INSERT INTO messages (conversation_id, turn, speaker, text)"
    " SELECT conversation_id, turn, speaker, 'x' FROM turns, unnest(ARRAY['visitor', 'agent']) AS speaker",
    "INSERT INTO turn_segments (turn_id, seq, text) SELECT id, n, 'x' FROM turns, generate_series(1, 3) AS n",
    "ANALYZE conversations, turns, messages, turn_segments",
)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


STATEMENTS: dict[str, tuple[str, tuple[object, ...]]] = {
    "progress": (sql.PROGRESS, (uuid4(), uuid4(), 0)),
    "context": (sql.CONTEXT, (uuid4(),)),
    "history": (sql.HISTORY, (uuid4(), 3, 20)),
    "segment_add": (sql.SEGMENT_ADD, (uuid4(), uuid4(), 0, 1, "x")),
    "turn_finish": (sql.TURN_FINISH, (uuid4(), uuid4(), "continue")),
    "turn_add": (sql.TURN_ADD, (uuid4(), uuid4(), "x")),
}


@pytest.fixture
async def seeded(db: Db) -> Db:
    """A database with some thousand turns, all of them answered."""
    for seed in SEED:
        await db.execute(seed, timeout=30)
    return db


async def test_no_statement_of_a_turn_scans_a_table(seeded: Db) -> None:
    scanned = {}
    for name, (statement, arguments) in STATEMENTS.items():
        (plan,) = json.loads(await seeded.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *arguments))
        scanned[name] = [node for node in nodes(plan["Plan"]) if node["Node Type"] == "Seq Scan"]
    assert scanned == {name: [] for name in STATEMENTS}


async def test_claiming_turns_reads_the_due_index(seeded: Db) -> None:
    statement = (
        "SELECT id FROM turns WHERE state IN ('queued') AND due_at <= now()"
        " AND (lease_until IS NULL OR lease_until < now()) ORDER BY lane, due_at LIMIT 8 FOR UPDATE SKIP LOCKED"
    )
    (plan,) = json.loads(await seeded.fetchval(f"EXPLAIN (FORMAT JSON) {statement}"))
    assert "turns_due" in {node.get("Index Name") for node in nodes(plan["Plan"])}
