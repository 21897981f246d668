"""The rows by which processes know of each other."""

import asyncio
import time

from ccl_service.platform.db import Db
from ccl_service.platform.instances import Heartbeat, Instance, live_web


async def test_an_instance_that_stops_takes_its_row_along(db: Db) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(Heartbeat(db, Instance("web-1", "rev-1", "web")).run(stop))
    deadline = time.monotonic() + 30
    while await live_web(db, "rev-1") == 0:
        assert time.monotonic() < deadline
    stop.set()
    await running
    assert await db.fetchval("SELECT count(*) FROM instances") == 0
