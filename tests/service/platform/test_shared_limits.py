"""Limits across processes, on a real Redis."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from redis.asyncio import Redis

from ccl_service.main import open_service
from ccl_service.platform.config import load_settings
from ccl_service.platform.http import LIMITER
from ccl_service.platform.limits import Limit, LimitClass, Limiter
from ccl_service.platform.problems import RateLimited
from ccl_service.platform.redis_counts import RedisCounts
from hack.ports import free_port
from tests.service.conftest import ServiceServer
from tests.service.polling import eventually
from tests.service.processes import running, until_status
from tests.service.redis_servers import own_redis

#: So long that no test meets its end.
DAY = {"RATE_LIMIT_WINDOW_MS": "86400000"}


def limiter(shared: RedisCounts) -> Limiter:
    return Limiter({LimitClass.DEFAULT: Limit(4, timedelta(hours=1))}, clock=time.time, shared=shared)


@contextlib.asynccontextmanager
async def processes(url: str, *deployments: str) -> AsyncIterator[list[RedisCounts]]:
    """One process of each deployment, named by its place."""
    async with contextlib.AsyncExitStack() as stack:
        found = [RedisCounts(url, deployment=name, process=str(n)) for n, name in enumerate(deployments)]
        for one in found:
            stack.push_async_callback(one.close)
        yield found


def asked(one: Limiter, times: int) -> int:
    """How many of so many requests of one client are let in."""
    admitted = 0
    for _ in range(times):
        with contextlib.suppress(RateLimited):
            one.check(LimitClass.DEFAULT, "203.0.113.1")
            admitted += 1
    return admitted


async def test_what_one_process_counts_the_other_knows(redis_server: str) -> None:
    async with processes(redis_server, "known", "known") as (one, two):
        first, second = limiter(one), limiter(two)
        assert asked(first, 3) == 3
        await first.reconcile()
        assert asked(second, 1) == 1
        await second.reconcile()
        assert asked(second, 1) == 0


async def test_deployments_on_one_redis_do_not_share(redis_server: str) -> None:
    async with processes(redis_server, "one", "other") as (one, other):
        first, second = limiter(one), limiter(other)
        assert asked(first, 4) == 4
        await first.reconcile()
        assert asked(second, 1) == 1
        await second.reconcile()
        assert asked(second, 4) == 3


async def test_what_was_sent_to_a_frozen_redis_several_times_counts_once() -> None:
    async with own_redis() as redis, processes(redis.url, "frozen", "frozen") as (one, two):
        failed = list[int]()
        limits = {LimitClass.DEFAULT: Limit(100, timedelta(hours=1))}
        counting = Limiter(limits, clock=time.time, shared=one, on_shared_failure=lambda: failed.append(1))
        assert asked(counting, 1) == 1
        await counting.reconcile()
        await redis.freeze()
        for _ in range(5):
            assert asked(counting, 1) == 1
            await counting.reconcile()
        assert len(failed) == 5
        await redis.thaw()

        async def total() -> int:
            """As another process sees it, which has counted nothing."""
            return next(iter((await two.share(dict.fromkeys(counting._counters, (0, 60000)))).values()))

        async def caught_up() -> bool:
            with contextlib.suppress(OSError):
                await counting.reconcile()
                return await total() == 6
            return False

        await eventually(caught_up, within=30)
        for _ in range(20):  # what was sent into the freeze has been read by now, whatever its order
            assert await total() == 6


async def test_a_count_never_goes_back(redis_server: str) -> None:
    async with processes(redis_server, "late", "late") as (one, two):
        assert await one.share({"window": (5, 60_000)}) == {"window": 5}
        assert await one.share({"window": (3, 60_000)}) == {"window": 5}
        assert await two.share({"window": (2, 60_000), "other": (1, 60_000)}) == {"window": 7, "other": 1}


async def test_counts_are_gone_when_nobody_needs_them(redis_server: str) -> None:
    async with processes(redis_server, "gone") as (one,), Redis.from_url(redis_server) as reader:
        await one.share({"soon": (1, 50), "later": (1, 60_000)})

        async def gone() -> bool:
            return [key async for key in reader.scan_iter("ccl:{gone}:*")] == [b"ccl:{gone}:limit:later"]

        await eventually(gone, within=30)


async def test_two_processes_let_about_as_many_through_as_one_would(
    environ: dict[str, str], redis_server: str, root: dict[str, str]
) -> None:
    limit = 150
    headers = root | {"X-Forwarded-For": "198.51.100.7"}
    environ |= DAY | {"REDIS_URL": redis_server, "RATE_LIMIT_MAX_REQUESTS": str(limit), "TRUST_PROXY": "127.0.0.0/8"}
    async with contextlib.AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(running(environ, "--no-jobs"))).url for _ in range(2)]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        for url in urls:
            await until_status(session, f"{url}/live", 200)
        admitted, refused = 0, set[str]()
        deadline = time.monotonic() + 60
        for url in itertools.cycle(urls):
            async with session.get(f"{url}/api/leads/imports/none", headers=headers) as answer:
                assert answer.status in {404, 429}
                admitted += answer.status == 404
                refused |= {url} if answer.status == 429 else set()
            if len(refused) == len(urls):
                break
            assert time.monotonic() < deadline, f"{admitted} were let in"
            await asyncio.sleep(0.02)  # a steady caller: what two processes disagree about is what comes within 200 ms
    assert limit <= admitted < 1.5 * limit


Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def pair(environ: dict[str, str], redis_server: str) -> AsyncIterator[list[Client]]:
    """Two processes of one deployment by a clock that stands still; they reconcile when they are told to."""
    moment = datetime.now(UTC)
    settings = load_settings(environ | {"REDIS_URL": redis_server, "CCL_DEPLOYMENT_ID": uuid4().hex})
    async with contextlib.AsyncExitStack() as stack:
        services = [await stack.enter_async_context(open_service(settings, clock=lambda: moment)) for _ in range(2)]
        yield [await stack.enter_async_context(TestClient(ServiceServer(one.app))) for one in services]


async def alternately(pair: Sequence[Client], path: str, headers: dict[str, str], times: int) -> list[int]:
    """The statuses of requests that go to one and the other in turn, each known to both before the next."""
    found = []
    for number in range(times):
        async with pair[number % 2].get(path, headers=headers) as answer:
            found.append(answer.status)
        for client in (*pair, *pair):  # what the second adds, the first learns when it says more itself
            await client.app[LIMITER].reconcile()
    return found


async def test_a_keys_own_limit_holds_across_processes(pair: list[Client], root: dict[str, str]) -> None:
    draft = {"name": "shared", "scopes": ["leads:read"], "requests_per_minute": 6}
    async with pair[0].post("/api/keys", json=draft, headers=root) as answer:
        key = {"X-API-Key": (await answer.json())["secret"]}
    found = await alternately(pair, "/api/leads", key, 10)
    assert found[:6] == [200] * 6
    assert 429 in found[6:8]
    assert found[8:] == [429] * 2


async def test_a_conversations_limit_holds_across_processes(pair: list[Client]) -> None:
    async with pair[0].post("/api/chat/sessions", json={}) as answer:
        visitor = {"Authorization": f"Bearer {(await answer.json())['visitor_token']}"}
    found = await alternately(pair, f"/api/chat/turns/{uuid4()}/events", visitor, 64)
    assert found[:60] == [404] * 60
    assert 429 in found[60:62]
    assert found[62:] == [429] * 2


async def test_without_redis_health_says_degraded_and_the_service_answers(environ: dict[str, str]) -> None:
    settings = load_settings(environ | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"})
    async with open_service(settings) as service, TestClient(ServiceServer(service.app)) as client:
        assert (await client.get("/nowhere")).status == 404
        health = await client.get("/health")
        assert (health.status, (await health.json())["status"]) == (200, "degraded")
