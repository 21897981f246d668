"""The work behind the two routes that every contender serves: the service's own statements on a plain asyncpg pool.

New people only: what the service does for one who is known already is not measured.
"""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from ccl_service.leads.model import identity
from ccl_service.leads.sql import LEAD_GET, LEAD_INTAKE
from ccl_service.mail.model import FIRST_CONTACT, FIRST_LANE, OCCASION_INTAKE
from ccl_service.mail.service import ACTOR
from ccl_service.mail.sql import ENROL
from ccl_service.platform.part import Part

POOL_SIZE = 10
CREATED = json.dumps({"source": "api", "consent": False})
#: The service's statement for a new lead; the 21 parameters of LEAD_INTAKE come before those of ENROL.
INTAKE = Part(ENROL, ()).within(LEAD_INTAKE, *range(21))[0]


async def _no_reset(_: object) -> None:
    """As in ``platform.db``: statements leave nothing behind that a reset would have to clear."""


async def open_pool(url: str) -> "asyncpg.Pool[Any]":
    """``POOL_SIZE`` connections, never reset on release."""
    return await asyncpg.create_pool(url, min_size=POOL_SIZE, max_size=POOL_SIZE, reset=_no_reset)


async def read(pool: "asyncpg.Pool[Any]", lead_id: UUID) -> "asyncpg.Record | None":
    """One lead, ``finance`` and ``consent`` as JSON text."""
    async with pool.acquire() as con:
        return await con.fetchrow(LEAD_GET, lead_id)


async def take_in(
    pool: "asyncpg.Pool[Any]", columns: Sequence[str | None], email: str, requested_at: datetime
) -> dict[str, object]:
    """A new lead with its first mail queued, in one statement; the answer.

    ``columns`` are those of LEAD_INTAKE from ``source`` to ``consent``.
    """
    lead, email_hash = uuid4(), identity("email", email).value_hash
    answer = {"id": str(lead), "state": "new", "created": True}
    once = (None, None, None, None, json.dumps(answer))
    person = ([uuid4()], [uuid4()], [lead], [requested_at], [email_hash], [FIRST_LANE])
    first = (*person, FIRST_CONTACT, OCCASION_INTAKE, ACTOR)
    async with pool.acquire() as con:
        await con.execute(INTAKE, lead, *columns, requested_at, ["email"], [email_hash], *once, "api", CREATED, *first)
    return answer
