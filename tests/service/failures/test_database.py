"""The database frozen, restarted, and rid of its sessions, while people read, write, talk and are written to."""

import asyncio
import re
import time
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import uuid4

import aiohttp

from ccl_service.main import route_table
from ccl_service.platform import db, health
from ccl_service.platform.history import SERIES
from ccl_service.platform.route import Auth
from tests.service.failures.conftest import World
from tests.service.failures.ledger import RIGHT, Answer
from tests.service.polling import eventually

#: What the service promises, in seconds.
ANSWERED_WITHIN = 5.0
UNREADY_WITHIN = 10.0
#: Each wait that a request goes through may end late by what /live is late on a loaded machine: for a connection, for
#: an answer, and the way through both event loops.
LATE_WAITS = 4
ENDLESS = {"/api/chat/ws", "/api/monitoring/profile", "/api/chat/turns/{id}/events"}
NEEDS = {"/api/monitoring/history": {"metric": next(iter(SERIES))}}
GETS = [row for row in route_table() if row.method == "GET" and row.path not in ENDLESS]
#: Longer than the provider's log may lag behind.
PROOF = timedelta(minutes=31)


async def every_get(world: World) -> list[Answer]:
    """Each route that reads, asked at the same time by who may."""
    ledger, before = world.ledger, len(world.ledger.answers)
    async with aiohttp.ClientSession(ledger.url, timeout=aiohttp.ClientTimeout(total=60)) as http:
        calls = []
        for row in GETS:
            path = re.sub(r"{[^}]*}", str(uuid4()), row.path)
            headers = {} if row.auth is Auth.PUBLIC else ledger.root
            calls.append(ledger.call(http, row.path, "GET", path, headers=headers, params=NEEDS.get(row.path, {})))
        await asyncio.gather(*calls, return_exceptions=True)
    asked = {row.path for row in GETS}
    return [answer for answer in ledger.answers[before:] if answer.what in asked]


async def test_a_frozen_database_keeps_nobody_waiting_and_is_forgiven(world: World) -> None:
    ledger = world.ledger
    async with ledger.busy():
        await ledger.served()
        world.server.freeze()
        try:
            started = time.monotonic()
            await world.until(503)
            unready_after = time.monotonic() - started
            swept = await every_get(world)
            await ledger.refused("read", "write", "open")
        finally:
            world.server.thaw()
        await world.until(200)
        await ledger.served()
    assert db.ACQUIRE_SECONDS + db.STATEMENT_SECONDS < ANSWERED_WITHIN
    assert health.PROBE_SECONDS + health.CACHE_SECONDS < UNREADY_WITHIN
    allowed = ANSWERED_WITHIN + LATE_WAITS * ledger.load
    assert {answer.what: answer.seconds for answer in swept if answer.seconds > allowed} == {}
    assert {answer.what: answer.status for answer in swept if answer.status not in RIGHT | {404}} == {}
    assert ledger.slowest() < allowed
    assert unready_after < UNREADY_WITHIN + LATE_WAITS * ledger.load
    assert {answer.status for answer in ledger.answers if answer.what == "alive"} == {200}
    await settled(world)


async def test_a_restarted_database_is_found_again(world: World) -> None:
    ledger = world.ledger
    async with ledger.busy():
        await ledger.served()
        await asyncio.to_thread(world.server.stop)
        await world.until(503)
        await ledger.refused("read", "write", "open")
        await asyncio.to_thread(world.server.start)
        await world.until(200)
        await ledger.served()
    assert ledger.slowest() < ANSWERED_WITHIN + LATE_WAITS * ledger.load
    await settled(world)


ENDED = 5


async def test_sessions_that_are_ended_again_and_again_lose_no_lead_no_answer_and_no_mail(world: World) -> None:
    ledger = world.ledger
    async with world.connection() as con, ledger.busy():
        for _ in range(ENDED):
            await ledger.served(3)
            await con.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        await ledger.served()
    assert ledger.slowest() < ANSWERED_WITHIN + LATE_WAITS * ledger.load
    await settled(world)


async def settled(world: World) -> None:
    """The process is the same; everybody got right answers and has what was promised: a lead, an answer, a mail."""
    ledger = world.ledger
    assert world.process.handle.returncode is None
    swept = {row.path for row in GETS}
    assert {wrong: n for wrong, n in ledger.wrong.items() if wrong[0] not in swept} == {}
    async with world.connection() as con:
        await ledger.keeps_its_word(con)
        await give_up_on_lost_claims(con)
        await ledger.ends_every_turn(con)
        await prove_absence(world, con)
        people = [row["email"] for row in await con.fetch("SELECT email FROM leads")]
        assert Counter(mail.to for mail in world.mailgun.mails) == Counter(people)


async def give_up_on_lost_claims(con: Any) -> None:
    """What waiting for the leases would do: claims that went with a session run out."""
    for table in ("turns", "sends"):
        held: set[Any] = {None}

        async def nobody_new() -> bool:
            nonlocal held
            before, held = held, {row[0] for row in await con.fetch(f"SELECT claim_id FROM {table}")} - {None}  # noqa: B023
            return before == held

        await eventually(nobody_new, within=60)
        await con.execute(f"UPDATE {table} SET lease_until = now() WHERE claim_id = ANY($1::uuid[])", list(held))


async def prove_absence(world: World, con: Any) -> None:
    """What waiting for the provider's log would do: whom it does not show is written to once more."""

    async def begun() -> bool:
        return bool(await con.fetchval("SELECT count(*) = 0 FROM sends WHERE state IN ('queued', 'sending')"))

    async def accepted() -> bool:
        states = "('accepted', 'delivered')"
        return bool(await con.fetchval(f"SELECT count(*) = 0 FROM sends WHERE state NOT IN {states}"))

    await con.execute("UPDATE sends SET due_at = now() WHERE state = 'queued'")
    await eventually(begun, within=60)
    await con.execute("UPDATE sends SET sent_at = sent_at - $1::interval, due_at = due_at - $1::interval", PROOF)
    world.mailgun.log.shift(PROOF.total_seconds())
    await eventually(accepted, within=60)
