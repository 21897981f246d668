"""A production environment with which nothing is wrong, and what it needs."""

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.service.platform.checks.outside import Outside, start_outside


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with start_outside() as started:
        yield started


@pytest.fixture
def production(environ: dict[str, str], outside: Outside, redis_server: str) -> dict[str, str]:
    """A production environment with which nothing is wrong."""
    return environ | outside.environ() | {"REDIS_URL": redis_server}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cert.pem`` for localhost, valid for 30 days and signed by itself, and its ``key.pem``."""
    made = tmp_path_factory.mktemp("tls")
    request = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "30")
    files = ("-keyout", made / "key.pem", "-out", made / "cert.pem")
    subprocess.run((*request, *subject, *files), check=True, capture_output=True)
    return made
