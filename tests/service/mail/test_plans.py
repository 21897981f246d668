"""The hot statements of mail and intake read only what they are about, however many sends there are."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.leads import imports
from ccl_service.leads import sql as leads_sql
from ccl_service.mail import sql
from ccl_service.main import WORK_TABLES
from ccl_service.platform.db import Db
from ccl_service.platform.quarantine.service import page_statement
from ccl_service.platform.work import Queue

NOW = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SEED = (
    "INSERT INTO leads (id, source, first_name, email, requested_at)"
    " SELECT gen_random_uuid(), 'api', 'Ann', n || '@example.com', now() FROM generate_series(1, 5000) AS n",
    "INSERT INTO lead_keys (kind, value_hash, lead_id) SELECT 'email', sha256(email::bytea), id FROM leads",
    "INSERT INTO enrolments (id, sequence, lead_id, occasion) SELECT id, 'first-contact', id, 'intake' FROM leads",
    "INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, provider_id, sent_at)"
    " SELECT gen_random_uuid(), id, 0, lead_id, sha256(id::text::bytea), 'delivered', id::text, now() FROM enrolments",
    "INSERT INTO suppressions (kind, value_hash, reason) SELECT kind, value_hash, 'bounce' FROM lead_keys",
    "INSERT INTO imports (id, state) SELECT gen_random_uuid(), 'done' FROM generate_series(1, 2000)",
    "INSERT INTO import_chunks (import_id, position, body) SELECT id, 0, '' FROM imports",
    "ANALYZE leads, lead_keys, enrolments, sends, suppressions, imports, import_chunks",
)
FIRST = sql.enrol([sql.FirstSend(uuid4(), uuid4(), uuid4(), NOW, b"x", 0)], sequence="s", occasion="o", actor="a")
DRAFT = (uuid4(), "api", None, "Ann", *[None] * 5, "{}", None, NOW, ["email"], [b"x"], *[None] * 4, "{}", "api", "{}")
STATEMENTS: dict[str, tuple[object, ...]] = {
    "send_plan": (sql.SEND_PLAN, uuid4(), "d"),
    "send_begin": (sql.SEND_BEGIN, uuid4(), uuid4(), MINUTE, "d", "a"),
    "send_suppress": (sql.SEND_SUPPRESS, uuid4(), uuid4()),
    "send_lock": (sql.SEND_LOCK, uuid4()),
    "send_fact": (sql.SEND_FACT, uuid4(), "accepted", None, None, MINUTE),
    "send_by_provider": (sql.SEND_BY_PROVIDER, "x"),
    "sends_cancel": (sql.SENDS_CANCEL, uuid4(), "x"),
    "sends_unknown": (sql.SENDS_UNKNOWN, 500, MINUTE, "d"),
    "send_requeue": (sql.SEND_REQUEUE, uuid4(), NOW),
    "send_event_add": (sql.SEND_EVENT_ADD, "e", NOW.date(), uuid4(), "opened", NOW),
    "webhook_once": (sql.WEBHOOK_ONCE, b"t"),
    "suppress": (sql.SUPPRESS, ["email"], [b"x"], "bounce"),
    "contact_begin": FIRST.within(leads_sql.CONTACT_BEGIN),
    "lead_intake": FIRST.within(leads_sql.LEAD_INTAKE, *DRAFT),
    "leads_by_identity": (leads_sql.LEADS_BY_IDENTITY, ["email", "phone"], [b"x", b"y"]),
    "lead_complete": (leads_sql.LEAD_COMPLETE, uuid4(), *[None] * 5, "{}", None),
    "import_read": (imports.IMPORT_READ, uuid4(), 0),
    "import_progress": (imports.IMPORT_PROGRESS, uuid4(), uuid4(), 1, 1, 1, 0, 0),
    "work_waiting": (page_statement(WORK_TABLES), None, None, None, 50),
}
#: One row, or none: who may write from this database.
SMALL = {"deployment_identity"}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


@pytest.fixture
async def seeded(db: Db) -> Db:
    """Five thousand sends, all of them delivered."""
    for seed in SEED:
        await db.execute(seed, timeout=60)
    return db


async def test_no_hot_statement_scans_a_table(seeded: Db) -> None:
    claims = {f"{table.name}_claim": Queue(seeded, table).claim_statement for table in WORK_TABLES}
    hot = STATEMENTS | {name: (text, uuid4(), MINUTE, 8, 6) for name, text in claims.items()}
    scanned = {}
    for name, (statement, *arguments) in hot.items():
        (plan,) = json.loads(await seeded.fetchval(f"EXPLAIN (FORMAT JSON) {statement}", *arguments))
        scans = [node for node in nodes(plan["Plan"]) if node["Node Type"] == "Seq Scan"]
        scanned[name] = [node["Relation Name"] for node in scans if node["Relation Name"] not in SMALL]
    assert {name: tables for name, tables in scanned.items() if tables} == {}
