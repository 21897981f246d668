"""What was given up is listed across the tables of work, and worked again when somebody says so."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from ccl_service.leads.imports import IMPORTS
from ccl_service.main import WORK_TABLES
from ccl_service.platform.work import MAX_CLAIMS, Queue

LEAD = (
    "INSERT INTO leads (id, source, first_name, email, requested_at) VALUES ($1, 'api', 'Ann', 'ann@x.example', now())"
)
ENROLMENT = "INSERT INTO enrolments (id, sequence, lead_id, occasion) VALUES ($1, 'first-contact', $2, 'intake')"
SEND = """INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, reason, sent_at, due_at, claims)
          VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN $8 THEN now() END, now() - interval '1 hour', 5)"""


async def a_send(db: Any, state: str, reason: str | None = None, *, begun: bool = False) -> UUID:
    lead, enrolment, send = uuid4(), uuid4(), uuid4()
    await db.execute(LEAD, lead)
    await db.execute(ENROLMENT, enrolment, lead)
    await db.execute(SEND, send, enrolment, 0, lead, send.bytes, state, reason, begun)
    return send


async def a_turn(db: Any) -> UUID:
    conversation, turn = uuid4(), uuid4()
    await db.execute("INSERT INTO conversations (id) VALUES ($1)", conversation)
    add = "INSERT INTO turns (id, conversation_id, turn, state, claims) VALUES ($1, $2, 1, 'quarantined', 5)"
    await db.execute(add, turn, conversation)
    return turn


async def an_import(db: Any) -> UUID:
    import_id = uuid4()
    await db.execute("INSERT INTO imports (id, state, claims) VALUES ($1, 'quarantined', 5)", import_id)
    return import_id


async def listed(client: Any, root: Any, **query: Any) -> list[dict[str, Any]]:
    """Every page of the list."""
    items: list[dict[str, Any]] = []
    while True:
        answer = await client.get("/api/work", params=query, headers=root)
        assert answer.status == 200, await answer.text()
        page = await answer.json()
        items += page["items"]
        if page["next"] is None:
            return items
        query["after"] = page["next"]


async def test_rows_of_every_table_are_listed_once_longest_waiting_first(client: Any, root: Any, db: Any) -> None:
    sends = [await a_send(db, "quarantined") for _ in range(3)]
    turn, import_id = await a_turn(db), await an_import(db)
    await a_send(db, "queued")
    await a_send(db, "failed", "http:400")
    items = await listed(client, root, limit=2)
    assert {item["id"] for item in items[:3]} == {str(send) for send in sends}
    assert [(item["table"], item["id"]) for item in items[3:]] == [("turns", str(turn)), ("imports", str(import_id))]
    assert [item["id"] for item in await listed(client, root, table="turns")] == [str(turn)]


async def test_a_row_worked_again_can_be_claimed_and_leaves_the_list(client: Any, root: Any, db: Any) -> None:
    import_id = await an_import(db)
    answer = await client.post(f"/api/work/imports/{import_id}/retry", headers=root)
    assert (answer.status, await answer.json()) == (200, {"table": "imports", "id": str(import_id), "state": "queued"})
    assert await listed(client, root) == []
    (work,) = await Queue(db, IMPORTS).claim(uuid4(), timedelta(seconds=30), 1)
    assert (work.id, work.claims) == (import_id, 1)
    again = await client.post(f"/api/work/imports/{import_id}/retry", headers=root)
    assert again.status == 404


async def test_what_the_claims_gave_up_is_what_the_list_shows(client: Any, root: Any, db: Any) -> None:
    send = await a_send(db, "queued")
    (sends,) = (table for table in WORK_TABLES if table.name == "sends")
    await db.execute("UPDATE sends SET claims = $1 WHERE id = $2", MAX_CLAIMS, send)
    assert await Queue(db, sends).claim(uuid4(), timedelta(seconds=30), 1) == []
    assert [item["id"] for item in await listed(client, root)] == [str(send)]


@pytest.mark.parametrize(
    ("row", "resumed"),
    [
        (("quarantined", None, False), "queued"),
        (("quarantined", None, True), "unknown"),  # it may be out; the log tells
        (("failed", "unknown", True), "queued"),  # nobody can tell any more; a human decided
    ],
)
async def test_a_send_is_worked_again_from_where_it_may_be(
    client: Any, root: Any, db: Any, row: tuple[str, str | None, bool], resumed: str
) -> None:
    state, reason, begun = row
    send = await a_send(db, state, reason, begun=begun)
    assert [item["reason"] for item in await listed(client, root)] == [reason]
    answer = await client.post(f"/api/work/sends/{send}/retry", headers=root)
    assert (await answer.json())["state"] == resumed
    assert await db.fetchval("SELECT state FROM sends") == resumed


async def test_a_retry_leaves_its_line_in_the_audit_trail(client: Any, root: Any, db: Any) -> None:
    turn = await a_turn(db)
    await client.post(f"/api/work/turns/{turn}/retry", headers=root)
    row = await db.fetchrow("SELECT action, object_kind, object_id, principal_kind FROM audit_log")
    assert tuple(row) == ("work:retried", "turns", str(turn), "root")


@pytest.mark.parametrize("path", ["sends/{id}", "leads/{id}", "turns/x"])
async def test_what_does_not_wait_is_404(client: Any, root: Any, db: Any, path: str) -> None:
    send = await a_send(db, "queued")
    answer = await client.post(f"/api/work/{path.format(id=send)}/retry", headers=root)
    assert answer.status == 404
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0


@pytest.mark.parametrize("query", [{"table": "leads"}, {"after": "x"}, {"limit": "0"}])
async def test_a_wrong_question_is_422(client: Any, root: Any, query: dict[str, str]) -> None:
    assert (await client.get("/api/work", params=query, headers=root)).status == 422


async def test_without_the_root_key_nothing_is_shown_or_tried(client: Any, db: Any) -> None:
    turn = await a_turn(db)
    assert (await client.get("/api/work")).status == 401
    assert (await client.post(f"/api/work/turns/{turn}/retry")).status == 401
    assert await db.fetchval("SELECT state FROM turns") == "quarantined"
