"""Limits across processes, on a real Redis."""

import asyncio
import contextlib
import time
from datetime import timedelta

from aiohttp.test_utils import TestClient

from ccl_service.main import open_service
from ccl_service.platform.config import load_settings
from ccl_service.platform.limits import Limit, LimitClass, Limiter, RedisCounts
from ccl_service.platform.problems import RateLimited
from tests.service.conftest import ServiceServer


def limiter(shared: RedisCounts) -> Limiter:
    return Limiter({LimitClass.DEFAULT: Limit(4, timedelta(hours=1))}, clock=time.time, shared=shared)


async def test_what_one_process_counts_the_other_knows(redis_server: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        counts = [RedisCounts(redis_server) for _ in range(2)]
        for one in counts:
            stack.push_async_callback(one.close)
        first, second = (limiter(one) for one in counts)
        for _ in range(3):
            first.check(LimitClass.DEFAULT, "203.0.113.1")
        await first.reconcile()
        second.check(LimitClass.DEFAULT, "203.0.113.1")
        await second.reconcile()
        try:
            second.check(LimitClass.DEFAULT, "203.0.113.1")
        except RateLimited:
            return
        raise AssertionError("the fifth request of four passed")


async def test_without_redis_the_service_answers_and_health_says_degraded(environ: dict[str, str]) -> None:
    settings = load_settings(environ | {"REDIS_URL": "redis://127.0.0.1:1/0"})
    async with open_service(settings) as service, TestClient(ServiceServer(service.app)) as client:
        stop = asyncio.Event()
        limits = next(w for w in service.workers if w.name == "limits")
        loop = asyncio.create_task(limits.run(stop))
        assert (await client.get("/nowhere")).status == 404
        health = await client.get("/health")
        assert (health.status, (await health.json())["status"]) == (200, "degraded")
        deadline = time.monotonic() + 5
        while not service.metrics.registry.get_sample_value("ccl_limit_sync_failures_total"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        stop.set()
        await loop
