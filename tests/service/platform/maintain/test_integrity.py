"""Each check finds what it is for, and nothing in a sound database."""

import pytest

from ccl_contract.maintenance import TaskStatus
from ccl_service.platform.db import PoolDb
from ccl_service.platform.maintain.integrity import CHECKS, STATES
from ccl_service.platform.maintain.run import maintain, tasks
from tests.service.platform.maintain import rows
from tests.service.platform.maintain.conftest import Open
from tests.service.platform.maintain.rows import put

ANOTHER_LEAD = rows.LEAD.replace("{id}@example.com", "Same@example.com")
DROP = "ALTER TABLE {table} DROP CONSTRAINT {table}_state_check"
STATE = "UPDATE {table} SET state = 'odd'"

#: Check → statements that break what it checks; templates with a fresh id in each.
BROKEN: dict[str, tuple[str, ...]] = {
    "leads-without-identity": (rows.LEAD, "DELETE FROM lead_keys"),
    "leads-sharing-an-address": (ANOTHER_LEAD, ANOTHER_LEAD.replace("Same", "same")),
    "leads-without-history": (rows.LEAD, "DELETE FROM lead_events"),
    "sends-of-another-lead": (
        rows.LEAD,
        rows.SEND.replace("{state}", "delivered"),
        rows.LEAD,
        "UPDATE sends SET lead_id = (SELECT id FROM leads WHERE id <> sends.lead_id)",
    ),
    "turns-without-message": (
        rows.CONVERSATION,
        "INSERT INTO turns (id, conversation_id, turn, state) SELECT '{id}', id, 1, 'done' FROM conversations",
    ),
    "chunks-of-finished-imports": (
        rows.IMPORT.replace("{state}", "done"),
        "INSERT INTO import_chunks (import_id, position, body) SELECT id, 0, '' FROM imports",
    ),
    "constraints-not-validated": ("ALTER TABLE leads ADD CONSTRAINT c CHECK (id IS NOT NULL) NOT VALID",),
    "indexes-invalid": ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'leads_newest'::regclass",),
    "audit-unsealed": (
        "INSERT INTO audit_log (event, at, principal_kind, principal_id, action, object_kind, object_id, mac_key, mac)"
        " VALUES ('{id}', now() - interval '1 hour', 'root', 'x', 'a', 'o', 'i', 'k', '')",
    ),
    "leads-states": (rows.LEAD, DROP.format(table="leads"), STATE.format(table="leads")),
    "sends-states": (
        rows.LEAD,
        rows.SEND.replace("{state}", "delivered"),
        DROP.format(table="sends"),
        STATE.format(table="sends"),
    ),
    "turns-states": (
        rows.CONVERSATION,
        "INSERT INTO turns (id, conversation_id, turn, state) SELECT '{id}', id, 0, 'done' FROM conversations",
        "INSERT INTO messages (conversation_id, turn, speaker, text) SELECT id, 0, 'visitor', 'x' FROM conversations",
        DROP.format(table="turns"),
        STATE.format(table="turns"),
    ),
    "imports-states": (
        rows.IMPORT.replace("{state}", "done"),
        DROP.format(table="imports"),
        STATE.format(table="imports"),
    ),
    "conversations-states": (
        rows.CONVERSATION,
        DROP.format(table="conversations"),
        STATE.format(table="conversations"),
    ),
    "sends-quarantined": (rows.LEAD, rows.SEND.replace("{state}", "quarantined")),
    "imports-quarantined": (rows.IMPORT.replace("{state}", "quarantined"),),
    "sends-leases": (
        rows.LEAD,
        rows.SEND.replace("{state}", "queued"),
        "UPDATE sends SET claim_id = '{id}', lease_until = now() - interval '2 hours'",
    ),
    "imports-leases": (
        rows.IMPORT.replace("{state}", "queued"),
        "UPDATE imports SET claim_id = '{id}', lease_until = now() - interval '2 hours'",
    ),
    "sends-overdue": (
        rows.LEAD,
        rows.SEND.replace("{state}", "queued"),
        "UPDATE sends SET due_at = now() - interval '2 hours'",
    ),
    "imports-overdue": (
        rows.IMPORT.replace("{state}", "queued"),
        "UPDATE imports SET due_at = now() - interval '2 hours'",
    ),
}
TURN = "INSERT INTO turns (id, conversation_id, turn, state) SELECT '{id}', id, 0, '%s' FROM conversations"
SAID = "INSERT INTO messages (conversation_id, turn, speaker, text) SELECT id, 0, 'visitor', 'x' FROM conversations"
BROKEN |= {
    "turns-quarantined": (rows.CONVERSATION, TURN % "quarantined", SAID),
    "turns-leases": (
        rows.CONVERSATION,
        TURN % "queued",
        SAID,
        "UPDATE turns SET claim_id = '{id}', lease_until = now() - interval '2 hours'",
    ),
    "turns-overdue": (rows.CONVERSATION, TURN % "queued", SAID, "UPDATE turns SET due_at = now() - interval '2 hours'"),
}


async def findings(upkeep: Open) -> dict[str, str]:
    named = [(name, run) for name, run in tasks([], CHECKS) if name.startswith("integrity:")]
    report = await maintain(upkeep(), named, clock=lambda: 0.0)
    assert not report.failed, report
    found = [task for task in report.tasks if task.status is TaskStatus.ATTENTION]
    return {task.name.removeprefix("integrity:"): task.message for task in found}


async def test_a_sound_database_has_no_findings(db: PoolDb, upkeep: Open) -> None:
    await put(db, rows.LEAD)
    await put(db, rows.SEND, state="queued")
    await put(db, rows.IMPORT, state="queued")
    assert await findings(upkeep) == {}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
async def test_what_is_broken_is_found_by_its_check_and_by_no_other(db: PoolDb, upkeep: Open, check: object) -> None:
    name = getattr(check, "name")  # noqa: B009 - the parameter is one of CHECKS
    for statement in BROKEN[name]:
        await put(db, statement)
    found = await findings(upkeep)
    assert list(found) == [name]
    assert found[name].startswith("1 ")


async def test_a_send_that_is_held_is_not_called_overdue(db: PoolDb, upkeep: Open) -> None:
    await put(db, rows.LEAD)
    await put(db, rows.SEND, state="queued")
    await db.execute("UPDATE sends SET due_at = now() - interval '2 days', held = 'no postal address'")
    assert await findings(upkeep) == {}


async def test_many_are_counted_no_further_than_a_thousand(db: PoolDb, upkeep: Open) -> None:
    await db.execute(
        "INSERT INTO imports (id, state) SELECT gen_random_uuid(), 'quarantined' FROM generate_series(1, 1500)"
    )
    assert (await findings(upkeep))["imports-quarantined"].startswith("more than 1000 ")


@pytest.mark.parametrize("table", STATES)
async def test_the_states_checked_are_those_of_the_tables_own_constraint(db: PoolDb, table: str) -> None:
    text = await db.fetchval(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = $1", f"{table}_state_check"
    )
    assert set(STATES[table]) == set(text.split("'")[1::2])
