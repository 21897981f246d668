"""Redis gone and frozen: it shares limits, and nothing else waits for it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.service.polling import eventually
from tests.service.processes import running, until_status
from tests.service.redis_servers import OwnRedis, own_redis
from tests.service.scraping import total

#: So long that no test meets its end.
DAY = {"RATE_LIMIT_WINDOW_MS": "86400000"}
#: What a request costs at most that waits for nothing, in seconds; it may be late as often as /live, and some.
AT_ONCE, LATE = 0.5, 4
MOST = 500
CALLS = 30


@pytest.fixture
async def redis() -> AsyncIterator[OwnRedis]:
    async with own_redis() as made:
        yield made


Step = Callable[[OwnRedis], Awaitable[None]]


class Caller:
    """One client of a process, told apart by its address. ``answers``: status and seconds of each."""

    def __init__(self, http: aiohttp.ClientSession, root: dict[str, str]) -> None:
        self._http, self._headers = http, root | {"X-Forwarded-For": "198.51.100.7"}
        self.answers: list[tuple[int, float]] = []
        self.load = 0.0

    async def calls(self, count: int) -> None:
        """So many calls that cost the database nothing, each beside one that costs nothing at all."""
        for _ in range(count):
            self.answers.append(await self._call("/api/leads/imports/none"))
            self.load = max(self.load, (await self._call("/live"))[1])

    async def refused(self) -> bool:
        """Whether it has used up its limit."""
        return (await self._call("/api/leads/imports/none"))[0] == 429

    async def _call(self, path: str) -> tuple[int, float]:
        started = time.monotonic()
        async with self._http.get(path, headers=self._headers) as answer:
            await answer.read()
        return answer.status, time.monotonic() - started


@pytest.mark.parametrize(("away", "back"), [(OwnRedis.kill, OwnRedis.start), (OwnRedis.freeze, OwnRedis.thaw)])
async def test_without_redis_requests_go_on_and_with_it_limits_are_shared_again(
    environ: dict[str, str], root: dict[str, str], redis: OwnRedis, away: Step, back: Step
) -> None:
    environ |= DAY | {"REDIS_URL": redis.url, "RATE_LIMIT_MAX_REQUESTS": str(MOST), "TRUST_PROXY": "127.0.0.0/8"}
    async with running(environ, "--no-jobs") as process, aiohttp.ClientSession(process.url) as http:
        await until_status(http, f"{process.url}/ready", 200)
        caller = Caller(http, root)

        async def counted() -> bool:
            return await total(process.url, root, "ccl_limit_sync_failures_total") > 0

        async def degraded() -> bool:
            async with http.get("/health") as answer:
                return (answer.status, (await answer.json())["status"]) == (200, "degraded")

        await away(redis)
        await caller.calls(CALLS)
        await eventually(counted, within=30, every=0.5)
        await caller.calls(CALLS)
        assert {status for status, _ in caller.answers} == {404}
        assert max(seconds for _, seconds in caller.answers) < AT_ONCE + LATE * caller.load
        await eventually(degraded, within=30)
        await back(redis)
        await others_are_counted_too(redis, caller)
        assert process.handle.returncode is None


async def others_are_counted_too(redis: OwnRedis, caller: Caller) -> None:
    """What was counted alone arrives, and what another process counts has its effect here."""
    async with Redis(port=redis.port) as shared:

        def keys() -> AsyncIterator[bytes]:
            return shared.scan_iter("ccl:*:limit:default:198.51.100.7:*")

        async def arrived() -> bool:
            return [await shared.hvals(key) async for key in keys()] == [[str(2 * CALLS).encode()]]

        await eventually(arrived, within=30)
        async for key in keys():
            await shared.hset(key, "another process", str(MOST))
        await eventually(caller.refused, within=30, every=0.1)
