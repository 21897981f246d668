"""From a lead to a complete timeline, over HTTP on both sides."""

import re
from typing import Any

import pytest

from ccl_service.main import open_service
from ccl_service.platform.lifecycle import Role
from hack.fakes.mailgun import FakeMailgun
from tests.service.polling import eventually

ANN = {
    "first_name": "Ann",
    "last_name": "Example",
    "email": "ann@example.com",
    "phone": "(312) 555-0142",
    "vehicle_interest": "a used Corolla",
    "consent": {"text": "You may contact me.", "at": "2026-11-23T10:00:00Z", "ip": "192.0.2.7"},
}


async def kinds(client: Any, root: dict[str, str], lead: str) -> list[str]:
    answer = await client.get(f"/api/leads/{lead}/timeline", headers=root)
    return [event["kind"] for event in (await answer.json())["items"]]


@pytest.mark.usefixtures("webhooks", "jobs")
async def test_a_lead_gets_one_mail_and_a_complete_timeline(client: Any, root: Any, mailgun: FakeMailgun) -> None:
    answer = await client.post("/api/leads", json=ANN, headers=root)
    assert answer.status == 201
    lead = (await answer.json())["id"]

    async def delivered() -> bool:
        return "mail.delivered" in await kinds(client, root, lead)

    await eventually(delivered)
    assert mailgun.requests == 1
    (mail,) = mailgun.mails
    assert mail.to == "ann@example.com"
    assert "a used Corolla" in mail.text
    assert "100 Example Street" in mail.text
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert re.fullmatch(r"<https://loans\.example\.com/api/u/[\w.-]+>", mail.headers["List-Unsubscribe"])
    assert mail.tags == ("first-contact",)

    async def told() -> bool:
        return {"lead.created", "mail.queued", "mail.accepted", "lead.moved", "mail.delivered"} == set(
            await kinds(client, root, lead)
        )

    await eventually(told)
    state = (await (await client.get(f"/api/leads/{lead}", headers=root)).json())["state"]
    assert state == "contacted"


async def test_a_web_process_never_sends(settings: Any) -> None:
    async with open_service(settings, role=Role.WEB) as web:
        assert not {"sends", "imports"} & {worker.name for worker in web.workers}
    async with open_service(settings, role=Role.JOBS) as jobs:
        assert {"sends", "imports"} <= {worker.name for worker in jobs.workers}
