"""Each check of a whole process passes where nothing is wrong, and is broken by one thing."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest

from ccl_contract.readiness import Check
from ccl_service.mail.sql import bind_deployment
from ccl_service.main import open_service, wall_clock
from ccl_service.platform.config import load_settings
from ccl_service.platform.db import Db
from ccl_service.platform.monitoring import CHECKS
from tests.service.platform.checks.outside import Outside, tls_server
from tests.service.polling import eventually

DEVELOPMENT = {"CCL_ENV": "development"}
NOBODY = "postgresql://ccl:8Zr1q0@127.0.0.1:1/ccl"


@dataclass(frozen=True)
class Ground:
    """What a scenario may change."""

    db: Db
    outside: Outside
    tls: Path


@dataclass(frozen=True)
class Start:
    """How the process starts: with other variables, by another clock."""

    variables: Mapping[str, str] = field(default_factory=dict)
    ahead: timedelta = timedelta()


#: Breaks something for the length of the block.
Scenario = Callable[[Ground], contextlib.AbstractAsyncContextManager[Start]]


def started(start: Start) -> Scenario:
    """Only the process is different."""

    @contextlib.asynccontextmanager
    async def broken(_: Ground) -> AsyncIterator[Start]:
        yield start

    return broken


def setting(**variables: str) -> Scenario:
    """Other variables."""
    return started(Start(variables))


def world(change: Callable[[Ground], Awaitable[object]]) -> Scenario:
    """Only the process is the same."""

    @contextlib.asynccontextmanager
    async def broken(ground: Ground) -> AsyncIterator[Start]:
        await change(ground)
        yield Start()

    return broken


async def leave_behind(ground: Ground) -> None:
    await ground.db.execute("UPDATE schema_state SET epoch = 99, min_compatible = 98")


async def take_over(ground: Ground) -> None:
    await bind_deployment(ground.db, "another")


async def forget_records(ground: Ground) -> None:
    ground.outside.names.records = {}


@contextlib.asynccontextmanager
async def nobody_vouches(ground: Ground) -> AsyncIterator[Start]:
    async with tls_server(ground.tls) as port:
        yield Start({"PUBLIC_BASE_URL": f"https://localhost:{port}"})


#: Check → what breaks it.
BREAKS: Mapping[str, Scenario] = {
    "SecretsStrong": setting(**DEVELOPMENT, JWT_SECRET="short"),
    "Cors": setting(CORS_ORIGIN="https://your-domain.com"),
    "TrustProxy": setting(TRUST_PROXY="0.0.0.0/0"),
    "Tls": setting(PUBLIC_BASE_URL="http://cars.example.com"),
    "DatabaseReachable": setting(DATABASE_URL=NOBODY),
    "DatabaseVersion": setting(DATABASE_URL=NOBODY),
    "SchemaCompatible": world(leave_behind),
    "ClockSkew": started(Start(ahead=timedelta(hours=1))),
    "Redis": setting(REDIS_URL="redis://127.0.0.1:1/0"),
    "PoolFits": setting(DB_POOL_SIZE="1000"),
    "ReadReplicas": setting(DATABASE_REPLICA_URLS=NOBODY),
    "BackupsFresh": setting(BACKUP_MANIFEST_DIR="/nowhere"),
    "Certificate": nobody_vouches,
    "Environment": setting(**DEVELOPMENT),
    "Variables": setting(RATE_LIMIT_MAX_REQUEST="5"),
    "RateLimits": setting(RATE_LIMIT_MAX_REQUESTS="6001"),
    "LogLevel": setting(LOG_LEVEL="debug"),
    "Metrics": setting(METRICS_ENABLED="false"),
    "ErrorTracking": setting(SENTRY_DSN=""),
    "MailgunKeys": setting(MAILGUN_WEBHOOK_SIGNING_KEY=""),
    "MailSender": setting(MAIL_FROM="Cathy"),
    "PostalAddress": setting(MAIL_POSTAL_ADDRESS=""),
    "OutboundAllowlist": setting(OUTBOUND_ALLOWLIST="*"),
    "MailIdentity": world(take_over),
    "MailgunAccount": setting(MAILGUN_API_KEY="key-of-somebody-else"),
    "MailgunWebhook": setting(MAILGUN_WEBHOOK_SIGNING_KEY="signing-key-of-somebody-else"),
    "MailDomain": world(forget_records),
    "OpenAiKey": setting(OPENAI_API_KEY="sk-of-somebody-else"),
}


async def checks(environ: Mapping[str, str], start: Start) -> dict[str, Check]:
    """Every check of a process that starts so, by id in the order of the report."""
    settings = load_settings({**environ, **start.variables})
    async with open_service(settings, clock=lambda: wall_clock() + start.ahead) as service:
        return {check.id: check for check in await service.app[CHECKS].run()}


async def test_where_nothing_is_wrong_every_check_passes_and_each_has_a_scenario(production: dict[str, str]) -> None:
    found = await checks(production, Start())
    assert list(found) == list(BREAKS)

    async def all_pass() -> bool:
        # on a busy machine the outside may take longer than a check waits
        return all(check.status == "pass" for check in (await checks(production, Start())).values())

    await eventually(all_pass, within=60)


@pytest.mark.parametrize("check_id", BREAKS)
async def test_one_thing_breaks_it(
    check_id: str, production: dict[str, str], db: Db, outside: Outside, tls: Path
) -> None:
    async with BREAKS[check_id](Ground(db, outside, tls)) as start:
        found = (await checks(production, start))[check_id]
    assert found.status != "pass"
    assert found.reason not in {"", "CheckBroken"}
    assert found.action
