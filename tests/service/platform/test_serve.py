"""The real process: what it refuses to start with, how it stops, what its roles do."""

import asyncio
import contextlib
import json
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
import pytest

from ccl_contract.readiness import CheckStatus, ReadinessReport
from ccl_contract.schema import MigrationReport
from ccl_service.platform.descriptors import connection_places
from hack.ports import free_port
from tests.service.polling import eventually
from tests.service.processes import command, running, until_refused, until_status


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as opened:
        yield opened


async def test_a_stop_turns_ready_red_serves_on_finishes_what_is_in_flight_and_exits_0(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ | {"DRAIN_DELAY_MS": "700"}) as process:
        await until_status(session, f"{process.url}/ready", 200)
        half_sent, rest = asyncio.Event(), asyncio.Event()

        async def slow_body() -> AsyncIterator[bytes]:
            yield b'{"first_name": "Ana", "email": '
            half_sent.set()
            await rest.wait()
            yield b'"ana@example.com"}'

        headers = root | {"Content-Type": "application/json"}
        slow = asyncio.create_task(session.post(f"{process.url}/api/leads", data=slow_body(), headers=headers))
        await half_sent.wait()
        await until_status(session, f"{process.url}/live", 200)
        process.handle.send_signal(signal.SIGTERM)
        await until_status(session, f"{process.url}/ready", 503, within=2)
        async with session.get(f"{process.url}/api/leads", headers=root) as answer:
            assert answer.status == 200
            assert answer.headers["Connection"] == "close"
        await until_refused(process.url)
        rest.set()
        assert (await slow).status == 201
        assert await asyncio.wait_for(process.handle.wait(), 10) == 0


@pytest.fixture
def full() -> Iterator[BinaryIO]:
    """A device without room."""
    with Path("/dev/full").open("wb") as opened:
        yield opened


async def test_a_log_that_nobody_can_take_changes_nothing_about_a_good_end(
    environ: dict[str, str], session: aiohttp.ClientSession, full: BinaryIO
) -> None:
    async with running(environ | {"DRAIN_DELAY_MS": "100"}, stderr=full) as process:
        await until_status(session, f"{process.url}/ready", 200)
        process.handle.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.handle.wait(), 30) == 0


async def test_jobs_only_serves_probes_and_monitoring_and_nothing_else(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ, "--jobs-only") as process:
        await until_status(session, f"{process.url}/ready", 200)
        async with session.get(f"{process.url}/api/monitoring/production-readiness", headers=root) as answer:
            assert answer.status == 200
        async with session.get(f"{process.url}/api/leads", headers=root) as answer:
            assert answer.status == 404


async def test_it_starts_without_a_database_and_says_so(
    environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    environ["DATABASE_URL"] = f"postgresql://nobody@127.0.0.1:{free_port()}/nowhere"
    async with running(environ) as process:
        await until_status(session, f"{process.url}/live", 200)
        await until_status(session, f"{process.url}/ready", 503)


async def test_every_wrong_variable_is_named_at_once_and_no_value_shown(environ: dict[str, str]) -> None:
    environ |= {"CCL_ENV": "production", "INTERNAL_API_KEY": "ccl-internal-2025", "PORT": "many", "CORS_ORIGIN": "*"}
    code, _, err = await command(environ, "serve")
    assert code == 1
    for name in ("INTERNAL_API_KEY", "PORT", "CORS_ORIGIN", "MAILGUN_API_KEY", "OPENAI_API_KEY", "TRUST_PROXY"):
        assert name in err
    assert "ccl-internal-2025" not in err
    assert "many" not in err
    assert environ["JWT_SECRET"] not in err
    assert len(err.splitlines()) == 1


async def test_a_taken_port_is_one_line_with_the_fix(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        code, _, err = await command(environ | {"PORT": str(taken.getsockname()[1])}, "serve")
    assert code == 1
    assert err.splitlines()[-1].endswith("set PORT to a free one")


async def test_one_connection_too_many_is_told_so_by_the_real_process(
    environ: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ | {"CONNECTIONS_PER_IP": "1"}) as process:
        await until_status(session, f"{process.url}/ready", 200)  # and keeps its connection
        reader, writer = await asyncio.open_connection("127.0.0.1", process.port)
        try:
            assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 429 ")
        finally:
            writer.close()
            await writer.wait_closed()


FEW_DESCRIPTORS = """
import resource
from ccl_service.cli import main

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 200))
main()
"""


async def test_when_strangers_hold_every_place_probes_and_callers_who_have_one_are_answered(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ | {"CONNECTIONS_PER_IP": "0"}, program=("-c", FEW_DESCRIPTORS)) as process:
        await until_status(session, f"{process.url}/ready", 200)  # and keeps its connection
        places = connection_places(200, pooled=5)
        async with strangers(process.port, 2 * places):
            metrics = await told(session, process.url, root)
            assert metrics["ccl_http_connections_max"] == places
            assert metrics["ccl_http_connections"] >= places
            async with session.get(f"{process.url}/api/leads", headers=root) as answer:
                assert answer.status == 200
            for _ in range(3):
                assert (await first_line(process.port, "/ready")).startswith(b"HTTP/1.1 200 ")
            assert (await first_line(process.port, "/api/docs")).startswith(b"HTTP/1.1 503 ")
            assert (await told(session, process.url, root))["ccl_http_limited_total"] >= 1

        async def room_again() -> bool:
            return b" 200 " in await first_line(process.port, "/api/docs")

        await eventually(room_again, within=30)


@contextlib.asynccontextmanager
async def strangers(port: int, count: int) -> AsyncIterator[None]:
    """Connections that say nothing."""
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    try:
        yield
    finally:
        for _, writer in held:
            writer.close()


async def first_line(port: int, path: str) -> bytes:
    """Of the answer on a connection of its own, which the service may close."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.34\r\nConnection: close\r\n\r\n".encode()
        )
        return await asyncio.wait_for(reader.readline(), 30)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def told(session: aiohttp.ClientSession, url: str, root: dict[str, str]) -> dict[str, float]:
    """What the process counts, the last of each name."""
    async with session.get(f"{url}/api/monitoring/metrics", headers=root) as answer:
        return {sample["name"]: sample["value"] for sample in (await answer.json())["metrics"]}


async def test_check_prints_a_table_and_fails_like_the_gate(environ: dict[str, str]) -> None:
    code, out, _ = await command(environ, "check")
    assert code == 1
    verdicts = {words[1]: words[0] for words in map(str.split, out.splitlines())}
    assert verdicts["DatabaseReachable"] == "pass"
    assert verdicts["MailgunKeys"] == "fail"


async def test_migrate_needs_only_the_database_and_writes_its_report(empty_database_url: str, tmp_path: Path) -> None:
    last_words = tmp_path / "termination-log"
    last_words.touch()
    variables = {"DATABASE_URL": empty_database_url}
    code, out, err = await command(variables, "migrate", "--report", str(last_words))
    assert code == 0, err
    report = MigrationReport.model_validate_json(last_words.read_text())
    assert report.compatible
    assert json.loads(out) == json.loads(last_words.read_text())


UNREADY = """
from ccl_contract.readiness import Check, CheckStatus
from ccl_service.cli import main

async def never() -> Check:
    return Check(id="NeverReady", status=CheckStatus.FAIL, reason="Built", message="built to fail")

main(checks={"NeverReady": never})
"""


async def test_a_wrapper_can_add_a_check_of_its_own(
    environ: dict[str, str], root: dict[str, str], session: aiohttp.ClientSession
) -> None:
    async with running(environ, "--no-jobs", program=("-c", UNREADY)) as process:
        await until_status(session, f"{process.url}/ready", 200)
        async with session.get(f"{process.url}/api/monitoring/production-readiness", headers=root) as answer:
            report = ReadinessReport.model_validate_json(await answer.text())
    assert report.status is CheckStatus.FAIL
    assert "NeverReady" in {check.id for check in report.checks if check.status is CheckStatus.FAIL}
