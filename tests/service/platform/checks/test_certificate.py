"""The certificate of the public address, by real TLS servers."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from ccl_service.platform.assembly import wall_clock
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from tests.service.platform.checks.asking import status_and_reason, verdict
from tests.service.platform.checks.outside import tls_server


def at(settings: Settings, url: str) -> Settings:
    return settings.model_copy(update={"public_base_url": url})


async def test_a_trusted_certificate_passes_until_two_weeks_before_its_end(
    settings: Settings, db: Db, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls / "cert.pem"))
    async with tls_server(tls) as port:
        public = at(settings, f"https://localhost:{port}")
        assert await status_and_reason("Certificate", public, db) == ("pass", "")
        found = await verdict("Certificate", public, db, clock=lambda: wall_clock() + timedelta(days=17))
    assert (found.status.value, found.reason) == ("warn", "Expiring")
    assert "ends in 12 days" in found.message


async def test_one_that_nobody_vouches_for_is_a_warning(settings: Settings, db: Db, tls: Path) -> None:
    async with tls_server(tls) as port:
        found = await status_and_reason("Certificate", at(settings, f"https://localhost:{port}"), db)
    assert found == ("warn", "NotTrusted")


async def test_one_of_another_name_is_a_warning(
    settings: Settings, db: Db, tls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls / "cert.pem"))
    async with tls_server(tls) as port:
        found = await status_and_reason("Certificate", at(settings, f"https://127.0.0.1:{port}"), db)
    assert found == ("warn", "NotTrusted")


@pytest.mark.parametrize(
    ("url", "reason"), [("https://127.0.0.1:1", "NotReachable"), ("http://127.0.0.1:1", "NotConfigured")]
)
async def test_an_address_that_cannot_be_reached_or_is_not_https_says_nothing(
    url: str, reason: str, settings: Settings, db: Db
) -> None:
    assert await status_and_reason("Certificate", at(settings, url), db) == ("pass", reason)


async def test_a_server_that_speaks_no_tls_says_nothing_about_its_certificate(settings: Settings, db: Db) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await status_and_reason("Certificate", at(settings, f"https://localhost:{port}"), db) == (
            "pass",
            "NotReachable",
        )
    finally:
        server.close()
        await server.wait_closed()
