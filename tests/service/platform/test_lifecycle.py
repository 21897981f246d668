"""The way in and the way out: what is open at first, what outlasts a frozen database, who is cut off."""

import asyncio
import contextlib
import functools
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from structlog.testing import capture_logs

from ccl_service.platform import db, health, lifecycle, shedding
from ccl_service.platform.assembly import Service
from ccl_service.platform.db import WARM_CONNECTIONS
from ccl_service.platform.lifecycle import Worker, stop, working
from ccl_service.platform.migrate import migrate
from ccl_service.platform.phase import Phase
from ccl_service.platform.server import CUT_OFF_SECONDS
from ccl_service.platform.telemetry import Metrics
from hack.fakes.openai import start_openai
from tests.service.chat.system import OPENAI_KEY
from tests.service.polling import eventually
from tests.service.processes import Process, running, until_status
from tests.service.servers import Server, primary

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


@pytest.fixture
def database() -> Iterator[Server]:
    """A server that may be frozen."""
    with primary() as server:
        seconds = timedelta(seconds=30)
        asyncio.run(migrate(server.url(), contract=True, answer_within=seconds, lock_within=seconds))
        yield server


class Caller:
    """Asks the same again and again; remembers each answer's status and how long it took."""

    def __init__(self, http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> None:
        self._http, self._url, self._headers = http, url, headers
        self.answers: list[tuple[int, float]] = []

    async def run(self) -> None:
        while True:
            started = time.monotonic()
            async with self._http.get(self._url, headers=self._headers) as answer:
                await answer.read()
            self.answers.append((answer.status, time.monotonic() - started))
            await asyncio.sleep(0.05)

    @property
    def statuses(self) -> set[int]:
        return {status for status, _ in self.answers}

    @property
    def slowest(self) -> float:
        return max(seconds for _, seconds in self.answers)

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def test_a_frozen_database_leaves_the_process_alive_turns_it_unready_and_is_forgiven(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession, database: Server
) -> None:
    async with running(environ | {"DATABASE_URL": database.url()}) as process:
        await until_status(session, f"{process.url}/ready", 200)
        alive = Caller(session, f"{process.url}/live", {})
        served = Caller(session, f"{process.url}/api/leads", root)
        async with alive.asking(), served.asking():
            database.freeze()
            try:
                started = time.monotonic()
                await until_status(session, f"{process.url}/ready", 503)
                unready_after = time.monotonic() - started

                async def refused() -> bool:
                    return sum(status == 503 for status, _ in served.answers) >= 2

                await eventually(refused, within=60)
            finally:
                database.thaw()
            await until_status(session, f"{process.url}/ready", 200)
            before = len(served.answers)

            async def served_again() -> bool:
                return 200 in {status for status, _ in served.answers[before:]}

            await eventually(served_again, within=60)
    assert alive.statuses == {200}
    assert served.statuses <= {200, 503}
    # what the service promises, and what a busy machine may add
    assert db.ACQUIRE_SECONDS + db.STATEMENT_SECONDS < 5
    assert health.PROBE_SECONDS + health.CACHE_SECONDS < 10
    assert served.slowest < 5 + 5
    assert unready_after < 10 + 5


async def test_a_database_that_ends_all_sessions_costs_no_more_than_a_repeated_request(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession, database_url: str
) -> None:
    async with running(environ) as process:
        await until_status(session, f"{process.url}/ready", 200)
        served = Caller(session, f"{process.url}/api/leads", root)
        alive = Caller(session, f"{process.url}/live", {})
        con = await asyncpg.connect(database_url)
        try:
            async with served.asking(), alive.asking():
                for _ in range(3):
                    await con.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    before = len(served.answers)

                    async def well_again(before: int = before) -> bool:
                        return [status for status, _ in served.answers[before:]][-2:] == [200, 200]

                    await eventually(well_again, within=30)
        finally:
            await con.close()
    assert served.statuses <= {200, 503}
    assert alive.statuses == {200}


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
            time.sleep(1.2 * shedding.FULL_LAG_SECONDS)  # noqa: ASYNC251 - to block is what it is for
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
