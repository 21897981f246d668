"""The gate's answer comes in time, whatever the outside does, and probes never depend on it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_contract.readiness import CheckStatus, ReadinessReport
from ccl_service.main import Service
from ccl_service.platform.monitoring import CHECKS
from hack.fakes.dns import FakeDns, start_dns
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
GATE = "/api/monitoring/production-readiness"
#: What the operator waits for the gate.
GATE_SECONDS = 5.0
ASKS_OUTSIDE = {"MailgunAccount", "MailgunWebhook", "MailDomain", "OpenAiKey"}


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[str]:
    """A server that takes connections and never says anything; its host and port."""
    held: list[asyncio.StreamWriter] = []

    async def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
        await server.wait_closed()


@pytest.fixture
async def names() -> AsyncIterator[FakeDns]:
    """A DNS that swallows questions."""
    async with start_dns({}) as fake:
        fake.silent = True
        yield fake


@pytest.fixture
async def environ(environ: dict[str, str], names: FakeDns) -> AsyncIterator[dict[str, str]]:
    """Mailgun, OpenAI, DNS and the public address swallow everything."""
    async with black_hole() as mailgun, black_hole() as openai, black_hole() as public:
        yield environ | {
            "MAILGUN_API_KEY": "key-of-the-gate-tests",
            "MAILGUN_DOMAIN": "mg.example.com",
            "MAILGUN_WEBHOOK_SIGNING_KEY": "signing-key-of-the-gate-tests",
            "MAILGUN_BASE_URL": f"http://{mailgun}",
            "OPENAI_API_KEY": "sk-of-the-gate-tests",
            "OPENAI_BASE_URL": f"http://{openai}/v1",
            "DNS_SERVER": names.address,
            "PUBLIC_BASE_URL": f"https://{public}",
            "DATABASE_REPLICA_URLS": f"postgresql://ccl@{openai}/ccl",
        }


async def test_the_gate_answers_in_time_while_every_provider_swallows_requests(
    client: Client, root: dict[str, str]
) -> None:
    started = time.monotonic()
    answer = await client.get(GATE, headers=root)
    report = ReadinessReport.model_validate_json(await answer.text())
    assert time.monotonic() - started < GATE_SECONDS
    found = {check.id: check for check in report.checks}
    assert {found[name].status for name in ASKS_OUTSIDE | {"ReadReplicas"}} == {CheckStatus.WARN}
    assert (found["Certificate"].status, found["Certificate"].reason) == (CheckStatus.PASS, "NotReachable")
    assert report.blocking() == tuple(c for c in report.checks if c.id == "PostalAddress")


async def test_probes_answer_while_the_gate_waits(client: Client, root: dict[str, str]) -> None:
    gate = asyncio.create_task(client.get(GATE, headers=root))
    for path in ("/ready", "/live", "/health"):
        assert (await client.get(path)).status == 200
    assert not gate.done()
    (await gate).close()


async def test_a_second_look_is_answered_from_memory(service: Service, names: FakeDns) -> None:
    registry = service.app[CHECKS]
    first = {check.id: check for check in await registry.run()}
    asked = len(names.asked)
    second = {check.id: check for check in await registry.run()}
    assert {name: second[name] for name in ASKS_OUTSIDE} == {name: first[name] for name in ASKS_OUTSIDE}
    assert len(names.asked) == asked > 0


async def test_a_process_that_stops_does_not_wait_for_what_was_asked_of_the_outside(
    service: Service, names: FakeDns
) -> None:
    registry = service.app[CHECKS]
    asking = asyncio.create_task(registry.run())

    async def asked() -> bool:
        return bool(names.asked)

    await eventually(asked, within=10)
    async with asyncio.timeout(1):
        await registry.close()
    await asyncio.gather(asking, return_exceptions=True)
