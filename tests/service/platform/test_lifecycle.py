"""The way in and the way out: what is open at first, who is cut off."""

import asyncio
import contextlib
import functools
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from ccl_service.platform import lifecycle, shedding
from ccl_service.platform.assembly import Service
from ccl_service.platform.db import WARM_CONNECTIONS
from ccl_service.platform.lifecycle import Worker, stop, working
from ccl_service.platform.phase import Phase
from ccl_service.platform.server import CUT_OFF_SECONDS
from ccl_service.platform.telemetry import Metrics
from hack.fakes.openai import start_openai
from tests.service.chat.system import OPENAI_KEY
from tests.service.polling import eventually
from tests.service.processes import Process, running, until_status

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as opened:
        yield opened


async def test_connections_to_the_database_are_open_before_the_first_request(
    environ: dict[str, str], session: aiohttp.ClientSession, database_url: str
) -> None:
    async with running(environ) as process:
        await until_status(session, f"{process.url}/live", 200)
        con = await asyncpg.connect(database_url)
        try:
            found = await con.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE application_name = 'ccl-service' AND datname = current_database()"
            )
        finally:
            await con.close()
    assert found >= WARM_CONNECTIONS


@contextlib.asynccontextmanager
async def half_sent(process: Process, root: dict[str, str]) -> AsyncIterator[None]:
    """A request whose body never ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", process.port)
    head = f"POST /api/leads HTTP/1.1\r\nHost: x\r\nAuthorization: {root['Authorization']}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    try:
        yield
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_a_second_signal_cuts_off_what_is_stuck_and_gives_its_rows_back(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession, database_url: str
) -> None:
    async with start_openai(api_key=OPENAI_KEY) as openai:
        openai.fault("hang", seconds=600)
        environ |= {"OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": openai.url, "DRAIN_DELAY_MS": "20000"}
        async with running(environ) as process:
            await until_status(session, f"{process.url}/ready", 200)
            async with half_sent(process, root):
                await _say(session, process.url)

                await eventually(functools.partial(_claimed, database_url), within=30)
                process.handle.send_signal(signal.SIGTERM)
                await until_status(session, f"{process.url}/ready", 503)
                process.handle.send_signal(signal.SIGTERM)
                started = time.monotonic()
                assert await asyncio.wait_for(process.handle.wait(), 60) == 0
                assert time.monotonic() - started < 20, "it waited for the whole drain delay"
    con = await asyncpg.connect(database_url)
    try:
        row = await con.fetchrow("SELECT claim_id, lease_until, claims FROM turns")
    finally:
        await con.close()
    assert tuple(row) == (None, None, 0)


async def _claimed(database_url: str) -> bool:
    con = await asyncpg.connect(database_url)
    try:
        return bool(await con.fetchval("SELECT count(*) FROM turns WHERE claim_id IS NOT NULL"))
    finally:
        await con.close()


async def _say(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(f"{url}/api/chat/sessions", json={}) as answer:
        token = (await answer.json())["visitor_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    async with session.post(f"{url}/api/chat", data=json.dumps({"text": "hello"}), headers=headers) as answer:
        assert answer.status == 202


def test_the_worst_way_out_ends_before_kubernetes_kills() -> None:
    """Every stage at its end: the deadline, cut off workers, aiohttp's two waits, the pools and the probe."""
    closing = 2 * CUT_OFF_SECONDS + 2.0 + 1.0
    assert lifecycle.STOP_SECONDS + lifecycle.CUT_OFF_SECONDS + closing < 30


class NoListener:
    """A listener that is not there."""

    async def stop(self) -> None:
        return


@contextlib.contextmanager
def quick(monkeypatch: pytest.MonkeyPatch, *, deadline: float) -> Iterator[list[Any]]:
    monkeypatch.setattr(lifecycle, "STOP_SECONDS", deadline)
    monkeypatch.setattr(lifecycle, "HURRY_SECONDS", 0.05)
    monkeypatch.setattr(lifecycle, "LINGER_SECONDS", 0.01)
    monkeypatch.setattr(lifecycle, "CUT_OFF_SECONDS", 0.1)
    with capture_logs() as logs:
        yield logs


async def stuck(_: asyncio.Event) -> None:
    """A worker that does not look at the event."""
    await asyncio.sleep(3600)


async def deaf(_: asyncio.Event) -> None:
    """A worker that does not even heed its cancellation, once."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(3600)
    await asyncio.sleep(3600)


@pytest.mark.parametrize("run", [stuck, deaf])
async def test_stuck_requests_and_workers_share_one_deadline(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    phase = Phase()
    phase.entered()  # never leaves
    with quick(monkeypatch, deadline=0.3) as logs:
        async with working([Worker("stuck", run)], phase.stop, Metrics()) as crew:
            await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await stop(NoListener(), phase, crew, delay=0.1, hurry=asyncio.Event())
            monkeypatch.setattr(lifecycle, "WORKERS_SECONDS", 0.1)
    events = [line["event"] for line in logs]
    assert events[:3] == ["draining", "requests cut off", "worker cut off"]
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


async def test_nobody_is_waited_for_who_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async def obedient(ended: asyncio.Event) -> None:
        await ended.wait()

    phase = Phase()
    with quick(monkeypatch, deadline=3600) as logs:
        async with working([Worker("obedient", obedient)], phase.stop, Metrics()) as crew:
            async with asyncio.timeout(30):
                await stop(NoListener(), phase, crew, delay=0.01, hurry=asyncio.Event())
    assert [line["event"] for line in logs] == ["draining"]


async def test_what_requests_depend_on_outlasts_the_last_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def until_told(name: str, *, serves: bool) -> Worker:
        async def run(told: asyncio.Event) -> None:
            await told.wait()
            ended.append(name)

        return Worker(name, run, serves=serves)

    phase = Phase()
    phase.entered()
    crew_of_two = [until_told("measures", serves=True), until_told("claims", serves=False)]
    with quick(monkeypatch, deadline=3600) as logs:
        async with working(crew_of_two, phase.stop, Metrics()) as crew:
            stopping = asyncio.create_task(stop(NoListener(), phase, crew, delay=0.01, hurry=asyncio.Event()))

            async def nothing_is_claimed() -> bool:
                return ended == ["claims"] and phase.leave.is_set()

            await eventually(nothing_is_claimed, within=30)
            assert not stopping.done()
            phase.left()
            async with asyncio.timeout(30):
                await stopping
            assert ended == ["claims", "measures"]
    assert [line["event"] for line in logs] == ["draining"]


async def test_whoever_does_not_end_with_the_last_request_is_cut_off_too(monkeypatch: pytest.MonkeyPatch) -> None:
    phase = Phase()
    monkeypatch.setattr(lifecycle, "LAST_WORDS_SECONDS", 0.05)
    with quick(monkeypatch, deadline=3600) as logs:
        async with working([Worker("stuck", stuck, serves=True)], phase.stop, Metrics()) as crew:
            await asyncio.sleep(0)
            async with asyncio.timeout(30):
                await stop(NoListener(), phase, crew, delay=0.01, hurry=asyncio.Event())
    assert [line["event"] for line in logs] == ["draining", "worker cut off"]


@contextlib.asynccontextmanager
async def held_up() -> AsyncIterator[None]:
    """Each turn of the event loop takes longer than the service bears."""

    async def hog() -> None:
        while True:
            time.sleep(1.2 * shedding.FOREIGN_LAG_SECONDS)  # noqa: ASYNC251 - to block is what it is for
            await asyncio.sleep(0)

    hogging = asyncio.create_task(hog())
    try:
        yield
    finally:
        hogging.cancel()


async def test_a_process_that_was_overloaded_serves_again_while_it_drains(
    service: Service, client: Client, root: dict[str, str]
) -> None:
    async def answered(status: int) -> bool:
        return (await client.get("/api/leads", headers=root)).status == status

    async with working(service.workers, service.phase.stop, service.metrics):
        async with held_up():
            await eventually(functools.partial(answered, 503), within=60)
            service.phase.drain()
        await eventually(functools.partial(answered, 200), within=60)


async def test_the_last_minute_is_in_the_history_and_the_row_of_the_process_gone(
    environ: dict[str, str], session: aiohttp.ClientSession, database_url: str
) -> None:
    async with running(environ | {"DRAIN_DELAY_MS": "0"}, "--no-jobs") as process:
        await until_status(session, f"{process.url}/ready", 200)
        process.handle.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.handle.wait(), 60) == 0
    con = await asyncpg.connect(database_url)
    try:
        requests = await con.fetchval("SELECT (values ->> 'requests')::float8 FROM metrics_history")
        instances = await con.fetchval("SELECT count(*) FROM instances")
    finally:
        await con.close()
    assert requests >= 1
    assert instances == 0


async def test_moving_ends_by_itself_but_never_undoes_a_stop() -> None:
    phase = Phase()
    phase.move(0.01)
    assert (phase.moving, phase.leave.is_set(), phase.draining) == (True, True, False)

    async def settled() -> bool:
        return not phase.moving and not phase.leave.is_set()

    await eventually(settled, within=30)
    phase.move(0.01)
    phase.drain()
    await asyncio.sleep(0.05)
    assert phase.moving
    assert phase.leave.is_set()


async def test_sending_callers_elsewhere_needs_a_key_and_a_sensible_time(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ) as process:
        await until_status(session, f"{process.url}/ready", 200)
        url = f"{process.url}/api/monitoring/shed"
        async with session.post(url) as answer:
            assert answer.status == 401
        async with session.post(f"{url}?seconds=601", headers=root) as answer:
            assert answer.status == 422
        async with session.post(f"{url}?seconds=600", headers=root) as answer:
            assert (answer.status, await answer.json()) == (202, {"v": 1, "seconds": 600, "in_flight": 0})
        async with session.get(f"{process.url}/api/leads", headers=root) as answer:
            assert (answer.status, answer.headers["Connection"]) == (200, "close")
        async with session.get(f"{process.url}/ready") as answer:
            assert answer.status == 200
