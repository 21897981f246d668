"""A stop in the middle of everything."""

import asyncio
import signal

from ccl_service.platform.lifecycle import STOP_SECONDS
from tests.service.failures.conftest import World
from tests.service.processes import running, until_refused

REFUSED = "ClientConnectorError"


async def test_a_stop_under_load_loses_no_answer_and_gives_all_work_back(world: World) -> None:
    ledger = world.ledger
    async with ledger.busy():
        await ledger.served()
        world.process.handle.send_signal(signal.SIGTERM)
        await until_refused(world.process.url)
        assert await asyncio.wait_for(world.process.handle.wait(), STOP_SECONDS + 30) == 0
    # who comes when nobody listens any more is told so by the kernel, and goes to another process
    assert {wrong: n for wrong, n in ledger.wrong.items() if wrong[2] != REFUSED} == {}
    async with world.connection() as con:
        leads = await con.fetch("SELECT id::text FROM leads")
        assert {row["id"] for row in leads} == set(ledger.promised.values())
        await ledger.keeps_its_word(con)
        for table in ("turns", "sends"):
            assert await con.fetchval(f"SELECT count(*) FROM {table} WHERE claim_id IS NOT NULL") == 0
        async with running(world.environ):
            await ledger.ends_every_turn(con)
