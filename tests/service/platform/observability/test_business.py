"""What the business sees: counters that move with what the workers of a process do."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service
from ccl_service.platform.lifecycle import working
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def at_work(service: Service) -> AsyncIterator[Service]:
    """The service with its workers."""
    async with working(service.workers, service.phase.stop, service.metrics):
        yield service


async def test_rows_of_an_import_are_counted_by_what_became_of_them(
    client: Client, at_work: Service, root: dict[str, str]
) -> None:
    rows = "first_name,email\nAnn,ann@example.com\nBob,bob@example.com\nAnn,ann@example.com\nEve,no address\n"
    headers = {**root, "Content-Type": "text/csv"}
    assert (await client.post("/api/leads/import", data=rows, headers=headers)).status == 202
    metrics = at_work.metrics

    async def done() -> bool:
        return metrics.total("ccl_import_rows_total") == 4

    await eventually(done, within=30)
    found = {o: metrics.value("ccl_import_rows_total", outcome=o) for o in ("accepted", "duplicate", "rejected")}
    assert found == {"accepted": 2, "duplicate": 1, "rejected": 1}
    assert metrics.value("ccl_leads_created_total", source="upload") == 2


async def test_an_answered_message_is_counted_by_how_the_answer_came_about(client: Client, at_work: Service) -> None:
    session = await (await client.post("/api/chat/sessions", json={})).json()
    headers = {"Authorization": f"Bearer {session['visitor_token']}"}
    assert (await client.post("/api/chat", json={"text": "hello there"}, headers=headers)).status == 202

    async def answered() -> bool:
        return at_work.metrics.total("ccl_chat_turns_total") == 1

    await eventually(answered, within=30)
