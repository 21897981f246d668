"""The links that a mail carries."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ccl_service.leads.tokens import issue_return
from ccl_service.mail.model import Accepted
from ccl_service.platform.http import KEYS
from tests.service.mail.desk import Desk, Says


@pytest.fixture
async def links(client: Any, service: Any, desk: Desk) -> dict[str, str]:
    """Path of the return link and of the unsubscribe link of a mail, signed with the service's keys."""
    desk.keys = service.app[KEYS]
    provider = Says(Accepted("1@mg.example.com"))
    await desk.work(provider)
    (letter,) = provider.letters
    back, out = re.findall(r"https://loans\.example\.com(/api/[ru]/\S+)", letter.text)
    return {"back": back, "out": out}


async def test_opening_a_return_link_shows_a_page_and_changes_nothing(client: Any, desk: Desk, links: Any) -> None:
    before = await desk.leads.timeline(desk.lead)
    answer = await client.get(links["back"])
    page = await answer.text()
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Cathy" in page
    assert "Ann" not in page
    assert await desk.leads.timeline(desk.lead) == before


async def test_a_return_link_ends_after_48_hours(client: Any, service: Any, desk: Desk, links: Any) -> None:
    send = (await desk.send())["id"]
    now = datetime.now(UTC)
    for age, status in ((timedelta(hours=47), 200), (timedelta(hours=49), 404)):
        token = issue_return(service.app[KEYS], desk.lead, send, now - age)
        assert (await client.get(f"/api/r/{token}")).status == status


async def test_getting_the_unsubscribe_link_only_asks(client: Any, desk: Desk, links: Any) -> None:
    answer = await client.get(links["out"])
    assert (answer.status, '<form method="post">' in await answer.text()) == (200, True)
    assert (await desk.leads.get(desk.lead))["state"] == "contacted"


async def test_posting_it_unsubscribes_without_login_or_redirect_and_may_be_repeated(
    client: Any, desk: Desk, links: Any, service: Any
) -> None:
    for _ in range(2):
        answer = await client.post(links["out"], data={"List-Unsubscribe": "One-Click"}, allow_redirects=False)
        assert answer.status == 200
    assert (await desk.leads.get(desk.lead))["state"] == "opted_out"
    assert (await desk.kinds()).count("lead.opted_out") == 1
    assert service.metrics.value("ccl_opt_outs_total", way="link") == 1


async def test_unsubscribing_works_when_the_lead_is_gone(client: Any, desk: Desk, links: Any) -> None:
    await desk.db.execute("DELETE FROM leads")
    assert (await client.post(links["out"])).status == 200
    assert await desk.db.fetchval("SELECT reason FROM suppressions") == "unsubscribe"


async def test_a_token_serves_its_own_purpose_only(client: Any, links: Any) -> None:
    crossed = (links["back"].replace("/r/", "/u/"), links["out"].replace("/u/", "/r/"))
    for path in (*crossed, "/api/r/x", "/api/u/x.y.z", links["out"][:-2] + "xx"):
        assert (await client.get(path)).status == 404, path
    assert (await client.post(crossed[0])).status == 404
