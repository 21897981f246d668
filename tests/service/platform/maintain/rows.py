"""Rows for retention and integrity tests: SQL that makes one row of a kind, ``{age}`` old."""

from typing import Final
from uuid import uuid4

from ccl_service.platform.db import Db

LEAD: Final = """
WITH lead AS (
    INSERT INTO leads (id, state, source, first_name, email, requested_at, created_at, updated_at)
    VALUES ('{id}', 'new', 'api', 'Ann', '{id}@example.com', now(), now() - interval '{age}', now() - interval '{age}')
    RETURNING id),
known AS (
    INSERT INTO lead_keys (kind, value_hash, lead_id)
    SELECT 'email', sha256(convert_to(id::text, 'UTF8')), id FROM lead)
INSERT INTO lead_events (lead_id, at, kind, actor)
SELECT id, now() - interval '{age}', 'lead.created', 'api' FROM lead"""

CONVERSATION: Final = """
INSERT INTO conversations (id, state, created_at, last_at)
VALUES ('{id}', 'open', now() - interval '{age}', now() - interval '{age}')"""

#: A send of a lead that is still in use, so that only the rule of sends can take it.
SEND: Final = """
WITH enrolment AS (
    INSERT INTO enrolments (id, sequence, lead_id, occasion) SELECT gen_random_uuid(), 'first-contact', id, '{id}'
      FROM leads LIMIT 1 RETURNING id, lead_id)
INSERT INTO sends (id, enrolment_id, step, lead_id, address_hash, state, created_at, due_at)
SELECT '{id}', id, 0, lead_id, '', '{state}', now() - interval '{age}', now() FROM enrolment"""

SEND_EVENT: Final = """
INSERT INTO send_events (event_id, day, send_id, kind, at)
SELECT '{id}', (now() - interval '{age}')::date, id, 'opened', now() - interval '{age}' FROM sends LIMIT 1"""

IMPORT: Final = """
INSERT INTO imports (id, state, created_at, due_at) VALUES ('{id}', '{state}', now() - interval '{age}', now())"""

API_KEY: Final = """
INSERT INTO api_keys (id, name, scopes, per_minute, {column})
VALUES ('{id}', 'a key', '{{}}', 100, now() - interval '{age}')"""


async def put(db: Db, statement: str, age: str = "0 days", **values: str) -> str:
    """Run a template with a fresh id; the id."""
    row_id = str(uuid4())
    await db.execute(statement.format(id=row_id, age=age, **values))
    return row_id
