"""The service with a fake Mailgun as its outside world."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service
from ccl_service.platform.db import PoolDb
from ccl_service.platform.keys import KeyName, KeyRing, KeySource
from ccl_service.platform.lifecycle import working
from hack.fakes.mailgun import FakeMailgun, start_mailgun
from tests.service.mail.desk import Desk

API_KEY, SIGNING_KEY = "key-for-the-fake-mailgun", "signing-key-for-the-fake"


@pytest.fixture
async def mailgun() -> AsyncIterator[FakeMailgun]:
    """A fake Mailgun whose webhooks go nowhere yet."""
    async with start_mailgun(api_key=API_KEY, signing_key=SIGNING_KEY, retry_delays=(0.1, 0.2, 0.5)) as fake:
        yield fake


@pytest.fixture
def environ(environ: dict[str, str], mailgun: FakeMailgun) -> dict[str, str]:
    """Settings that lead to the fake."""
    return environ | mail_settings(mailgun)


def mail_settings(mailgun: FakeMailgun) -> dict[str, str]:
    """What makes a service write to everybody through ``mailgun``."""
    return {
        "MAILGUN_API_KEY": API_KEY,
        "MAILGUN_DOMAIN": "mg.example.com",
        "MAILGUN_BASE_URL": mailgun.url,
        "MAILGUN_WEBHOOK_SIGNING_KEY": SIGNING_KEY,
        "MAIL_FROM": "Cathy <cathy@mg.example.com>",
        "MAIL_POSTAL_ADDRESS": "Complete Car Loans, 100 Example Street, Springfield, IL 62701",
        "OUTBOUND_ALLOWLIST": "*",
        "CORS_ORIGIN": "https://loans.example.com",
        "PUBLIC_BASE_URL": "https://loans.example.com",
    }


@pytest.fixture
async def webhooks(client: TestClient[web.Request, web.Application], mailgun: FakeMailgun) -> None:
    """The fake's events reach the service."""
    mailgun.webhooks.target = str(client.make_url("/api/webhooks/mailgun"))


@pytest.fixture
async def jobs(service: Service) -> AsyncIterator[None]:
    """The background work runs."""
    async with working(service.workers, service.phase.stop, service.metrics):
        yield


@pytest.fixture
async def desk(db: PoolDb) -> Desk:
    """A lead whose first contact is queued."""
    desk = Desk(db, KeyRing({KeyName.JWT: KeySource(value="jwt-secret-of-the-mail-tests-0000001")}))
    await desk.take_in()
    return desk
