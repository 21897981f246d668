"""The API's document against a running service: Schemathesis with every phase and every check."""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from ccl_service.leads.model import identity
from ccl_service.leads.tokens import issue_return
from ccl_service.mail.tokens import Unsubscribe, issue_unsubscribe
from ccl_service.platform.assets import assets
from ccl_service.platform.config import load_settings
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.route import Scope
from tests.service.conftest import ROOT_KEY
from tests.service.processes import running, until_status

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
#: Most of a minute on two idle cores; what else runs there may take many times as much.
WITHIN_SECONDS = 1200
WEBHOOK_KEY = "webhook-key-of-the-schemathesis-run"


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {
        "LOG_LEVEL": "error",
        "TRUST_PROXY": "127.0.0.0/8",
        "BODY_LIMIT_BYTES": "65536",
        "MAILGUN_WEBHOOK_SIGNING_KEY": WEBHOOK_KEY,
    }


async def scoped_key(http: aiohttp.ClientSession) -> dict[str, Any]:
    """A key that may everything but what needs the root key."""
    draft = {"name": "schemathesis", "scopes": list(Scope), "requests_per_minute": 100_000}
    async with http.post("/api/keys", json=draft, headers={"X-API-Key": ROOT_KEY}) as answer:
        made: dict[str, Any] = await answer.json()
        return made


async def schemathesis(url: str, known: dict[str, str]) -> tuple[int, str]:
    """Run it to its end: exit code and report."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(HERE / "schemathesis.toml"),
        "run",
        f"{url}/api/openapi.json",
        "--no-color",
        cwd=ROOT,
        env=os.environ | {"SERVICE_URL": url, "PYTHONPATH": str(ROOT)} | known,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), WITHIN_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return await process.wait(), out.decode()


async def given_up(database_url: str, many: int) -> None:
    """Work that waits for a human."""
    con = await asyncpg.connect(database_url)
    try:
        await con.execute(
            "INSERT INTO imports (id, state) SELECT gen_random_uuid(), 'quarantined' FROM generate_series(1, $1)", many
        )
    finally:
        await con.close()


def tokens(environ: dict[str, str]) -> dict[str, str]:
    """What mails carry."""
    keys, lead = KeyRing(load_settings(environ).keys), uuid4()
    return {
        "RETURN_TOKEN": issue_return(keys, lead, uuid4(), datetime.now(UTC)),
        "UNSUBSCRIBE_TOKEN": issue_unsubscribe(
            keys, Unsubscribe(lead, identity("email", "ana@example.com").value_hash)
        ),
    }


async def test_the_service_does_what_its_document_says_whatever_it_is_asked(environ: dict[str, str]) -> None:
    async with running(environ) as service, aiohttp.ClientSession(service.url) as http:
        await until_status(http, "/ready", 200)
        key = await scoped_key(http)
        known = {
            "ROOT_KEY": ROOT_KEY,
            "SCOPED_KEY": key["secret"],
            "SCOPED_KEY_ID": key["key"]["id"],
            "WEBHOOK_KEY": WEBHOOK_KEY,
        }
        known |= tokens(environ) | {"ASSET": assets()["style.css"].url.rpartition("/")[2]}
        await given_up(environ["DATABASE_URL"], 50)
        code, report = await schemathesis(service.url, known)
        assert code == 0, report
