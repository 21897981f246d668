"""The client keeps its own pace, whoever asks and how many at once; the Lease goes before all."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from ccl_operator import names
from ccl_operator.config import Pace
from ccl_operator.runtime.client import SAVED_UP, Client
from ccl_operator.runtime.errors import TryLater
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.rbac import EVENT, LEASE, SELF_ACCESS_REVIEW

#: Seconds that those have to wait who come after the burst.
WAIT = 0.5
#: Not the usual one.
PACE = Pace(writes=100.0, reads=50.0)


@asynccontextmanager
async def connected() -> AsyncIterator[Client]:
    """A client of a server that says yes to everything."""

    async def answer(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {}})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
    try:
        async with Client(configuration, Metrics(), time.monotonic, pace=PACE) as client:
            yield client
    finally:
        await runner.cleanup()


def read(client: Client) -> Awaitable[Any]:
    return client.get(names.SECRET, "loans", "ccl")


def write(client: Client) -> Awaitable[Any]:
    return client.apply(names.SECRET, {"metadata": {"namespace": "loans", "name": "ccl"}})


async def lasted(calls: list[Awaitable[Any]]) -> float:
    """Seconds. On a busy machine one of hundreds may get no answer in time; it had its turn all the same."""
    started = time.monotonic()
    await asyncio.gather(*calls, return_exceptions=True)
    return time.monotonic() - started


def event(client: Client) -> Awaitable[Any]:
    return client.create(EVENT, "loans", {})


@pytest.mark.parametrize(("call", "rate"), [(read, PACE.reads), (write, PACE.writes), (event, PACE.events)])
async def test_requests_beyond_the_burst_go_at_the_rate(call: Callable[[Client], Awaitable[Any]], rate: float) -> None:
    async with connected() as client:
        assert await lasted([call(client) for _ in range(int((SAVED_UP + WAIT) * rate))]) >= WAIT


def renewal(client: Client) -> Awaitable[Any]:
    return client.replace(LEASE, {"metadata": {"namespace": "loans", "name": "ccl-operator"}})


def question(client: Client) -> Awaitable[Any]:
    return client.create(SELF_ACCESS_REVIEW, None, {})


WRITES, EVENTS = (write, (SAVED_UP + 20) * PACE.writes), (event, (SAVED_UP + 20) * PACE.events)


@pytest.mark.parametrize(("call", "others"), [(renewal, WRITES), (question, WRITES), (event, WRITES), (write, EVENTS)])
async def test_a_renewal_a_question_and_an_event_do_not_wait_behind_writes_nor_a_write_behind_events(
    call: Callable[[Client], Awaitable[Any]], others: tuple[Callable[[Client], Awaitable[Any]], float]
) -> None:
    other, twenty_seconds = others
    async with connected() as client:
        waiting = [asyncio.ensure_future(other(client)) for _ in range(int(twenty_seconds))]
        with suppress(TryLater):
            await call(client)
        assert [each for each in waiting if not each.done()]
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
