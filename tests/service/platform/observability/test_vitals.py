"""The process and what it stands on."""

import asyncio
import contextlib
import ssl
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccl_service.platform import vitals
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.vitals import CertificateWatch, LoopLag, watch_disks, watch_memory
from tests.service.polling import eventually

EXPIRY = "ccl_certificate_expiry_timestamp_seconds"


def certify(folder: Path, *dates: str) -> None:
    """A key and a self-signed certificate that nobody trusts."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"),
            *("-subj", "/CN=cars.example.com", *dates),
        ],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@contextlib.asynccontextmanager
async def tls_server(folder: Path) -> AsyncIterator[str]:
    """A server with that certificate; yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_end_of_the_certificate_is_read_though_nobody_trusts_it(tmp_path: Path) -> None:
    metrics = Metrics()
    certify(tmp_path, "-days", "30")
    async with tls_server(tmp_path) as url:
        assert await CertificateWatch(metrics, url).look()
    assert metrics.value(EXPIRY) == pytest.approx(time.time() + 30 * 86400, abs=600)
    assert metrics.value("ccl_certificate_probe_success") == 1


async def test_an_address_that_cannot_be_reached_says_so_and_claims_no_date(unused_tcp_port: int) -> None:
    metrics = Metrics()
    assert not await CertificateWatch(metrics, f"https://127.0.0.1:{unused_tcp_port}").look()
    names = {sample["name"] for sample in metrics.samples()}
    assert "ccl_certificate_probe_success" in names
    assert EXPIRY not in names


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "CONNECT_SECONDS", 0.1)
    held: list[asyncio.StreamWriter] = []

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert not await CertificateWatch(Metrics(), f"https://127.0.0.1:{port}").look()
        for writer in held:
            writer.transport.abort()


def test_memory_and_its_limit_are_read_at_each_collection(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("1000")
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.stat").write_text("inactive_file 100\n")
    metrics = Metrics()
    watch_memory(metrics, tmp_path)
    assert metrics.value("ccl_memory_working_set_bytes") == 900
    assert metrics.value("ccl_memory_limit_bytes") == 5000
    (tmp_path / "memory.current").write_text("4000")
    assert metrics.value("ccl_memory_working_set_bytes") == 3900


def test_without_a_control_group_there_is_no_claim(tmp_path: Path) -> None:
    metrics = Metrics()
    watch_memory(metrics, tmp_path)
    assert not [s for s in metrics.samples() if s["name"].startswith("ccl_memory")]


def test_file_systems_show_their_size_and_what_is_free(tmp_path: Path) -> None:
    metrics = Metrics()
    watch_disks(metrics, [str(tmp_path)])
    size = metrics.value("ccl_filesystem_size_bytes", mount=str(tmp_path))
    assert 0 < metrics.value("ccl_filesystem_available_bytes", mount=str(tmp_path)) <= size


async def test_a_blocked_event_loop_shows_as_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "LAG_SECONDS", 0.01)
    metrics, stop = Metrics(), asyncio.Event()
    running = asyncio.create_task(LoopLag(metrics).run(stop))
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - it is what the test is about

    async def noticed() -> bool:
        return metrics.value("ccl_event_loop_lag_seconds_sum") > 0.2

    await eventually(noticed, within=30)
    stop.set()
    await running
