"""The mark before a request survives a crash of the database, whatever the database's own default."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

from ccl_service.mail import sql
from ccl_service.mail.jobs import LEASE
from tests.service.mail.desk import Desk


async def test_the_mark_is_on_disk_when_the_request_may_go_out(desk: Desk, db: Any) -> None:
    assert await db.fetchval("SELECT current_setting('synchronous_commit')") == "off"
    for _ in range(20):  # the server's own writer may happen to be quicker now and then
        (work,) = await desk.queue.claim(uuid4(), LEASE, 1)
        before = await db.fetchval("SELECT pg_current_wal_insert_lsn()")
        begun = await sql.begin(db, work.id, work.claim, needs=timedelta(seconds=1), deployment=None, via=None)
        assert begun
        assert await db.fetchval("SELECT pg_current_wal_flush_lsn() > $1", before)
        await db.execute("UPDATE sends SET state = 'queued', claims = 0, claim_id = NULL, lease_until = NULL")
