"""What callers of a site behind ``docs/nginx.conf`` see when it counts them, or when its instances go."""

import asyncio
import contextlib
import functools
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest

from ccl_service.platform.problems import TryLater, as_document
from tests.service.nginx.conftest import Balancer, Site
from tests.service.polling import eventually
from tests.service.processes import until_refused

FEW = 5


@pytest.fixture
def environ(environ: dict[str, str], request: pytest.FixtureRequest) -> dict[str, str]:
    """Few requests for each client in the test that counts them."""
    return environ | getattr(request, "param", {})


@pytest.mark.parametrize(
    "environ", [{"RATE_LIMIT_MAX_REQUESTS": str(FEW), "RATE_LIMIT_WINDOW_MS": "600000"}], indirect=True
)
async def test_limits_count_the_client_whatever_it_claims_to_be(site: Site) -> None:
    async def statuses(client: aiohttp.ClientSession, **headers: str) -> list[int]:
        found = []
        for _ in range(2 * FEW + 1):  # two instances count for themselves
            async with client.get("/api/nothing", headers=headers) as answer:
                found.append(answer.status)
        return found

    async with site.balancer.client("127.0.0.2") as one, site.balancer.client("127.0.0.3") as other:
        assert 429 in await statuses(one)
        spoofed = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7", "Forwarded": "for=198.51.100.7"}
        assert set(await statuses(one, **spoofed)) == {429}
        async with other.get("/api/nothing") as answer:
            assert answer.status == 404


class Load:
    """Callers that go on calling, each as soon as it has its answer. ``outcomes`` counts what they got."""

    def __init__(self, balancer: Balancer, root: dict[str, str]) -> None:
        self._balancer, self._root = balancer, root
        self._over = False
        self.outcomes: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def going_on(self, *, readers: int, writers: int) -> AsyncIterator[None]:
        async with self._balancer.client(**self._root) as client, asyncio.TaskGroup() as group:
            for _ in range(readers):
                group.create_task(self._call(client.get, "GET", lambda _: {}))
            for writer in range(writers):
                group.create_task(self._call(client.post, "POST", functools.partial(_lead, writer)))
            try:
                yield
            finally:
                self._over = True

    async def more(self, count: int) -> None:
        """Until ``count`` more requests have had their answer."""
        goal = self.outcomes.total() + count

        async def answered() -> bool:
            return self.outcomes.total() >= goal

        await eventually(answered, within=60)

    async def _call(self, send: Callable[..., Any], method: str, arguments: Callable[[int], dict[str, Any]]) -> None:
        number = 0
        while not self._over:
            number += 1
            try:
                async with send("/api/leads", **arguments(number)) as answer:
                    await answer.read()
                    self.outcomes[f"{method} {answer.status}"] += 1
            except aiohttp.ClientError as error:
                self.outcomes[f"{method} {type(error).__name__}"] += 1


def _lead(writer: int, number: int) -> dict[str, Any]:
    return {"json": {"first_name": "Ana", "email": f"ana{writer}.{number}@example.org"}}


async def test_an_instance_that_stops_fails_no_request(site: Site, root: dict[str, str]) -> None:
    load = Load(site.balancer, root)
    async with load.going_on(readers=3, writers=3):
        await load.more(50)
        site.apps[0].handle.send_signal(signal.SIGTERM)
        await until_refused(site.apps[0].url)
        await load.more(50)
        assert await asyncio.wait_for(site.apps[0].handle.wait(), 30) == 0
        await load.more(50)
    assert set(load.outcomes) == {"GET 200", "POST 201"}


async def test_an_instance_that_dies_fails_no_read_and_no_later_write(site: Site, root: dict[str, str]) -> None:
    reading = Load(site.balancer, root)
    async with reading.going_on(readers=4, writers=0):
        await reading.more(50)
        site.apps[0].handle.kill()
        await reading.more(50)
    assert set(reading.outcomes) == {"GET 200"}
    writing = Load(site.balancer, root)
    async with writing.going_on(readers=0, writers=4):
        await writing.more(50)
    assert set(writing.outcomes) == {"POST 201"}


async def test_a_write_that_was_under_way_when_its_instance_died_is_not_repeated(
    site: Site, root: dict[str, str], database_url: str
) -> None:
    """The answer says "later"; whether the write took place is the caller's to find out, or to repeat with its key."""
    blocker = await asyncpg.connect(database_url)
    try:
        async with blocker.transaction(), site.balancer.client(**root) as client:
            await blocker.execute("LOCK TABLE leads IN EXCLUSIVE MODE")
            body = {"first_name": "Ana", "email": "ana@example.org"}
            writes = [asyncio.create_task(_status(client.post("/api/leads", json=body))) for _ in range(2)]
            await eventually(functools.partial(_waiting, database_url, 2), within=30)
            for app in site.apps:
                app.handle.kill()
            assert await asyncio.gather(*writes) == [503, 503]
    finally:
        await blocker.close()


async def _status(call: Any) -> int:
    async with call as answer:
        assert answer.headers["Retry-After"] == "1"
        document = await answer.json(content_type="application/problem+json")
        given = answer.headers["X-Request-ID"]
        assert document == as_document(TryLater(), instance=answer.url.path, request_id=given)
        return int(document["status"])


async def _waiting(database_url: str, count: int) -> bool:
    """Whether so many statements wait for a lock in this database."""
    con = await asyncpg.connect(database_url)
    try:
        found = await con.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
    finally:
        await con.close()
    return bool(found >= count)
