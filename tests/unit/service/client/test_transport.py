"""What the client does when it is refused, or gets no answer."""

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from ccl_service.client import Client, Problem, Retry, Unreachable, connect
from ccl_service.leads.model import LeadDraft
from ccl_service.platform.api_keys.model import KeyDraft
from ccl_service.platform.route import Scope
from hack.fakes.server import serving

QUICK = Retry(attempts=3, first=0.001)
LEAD = UUID(int=7)
DRAFT = LeadDraft(first_name="Ana", email="ana@example.com")
KEY = KeyDraft(name="x", scopes=[Scope.LEADS_READ])


def problem(status: int, *, retryable: bool, after: str | None = None, **more: Any) -> web.Response:
    document = {"title": "No", "status": status, "code": "TEST_001", "detail": "why", "retryable": retryable} | more
    headers = {"Retry-After": after} if after is not None else {}
    return web.Response(
        text=json.dumps(document), status=status, headers=headers, content_type="application/problem+json"
    )


@dataclass
class Server:
    """Gives ``answers`` one by one, then says that a lead was taken in; keeps the requests' headers."""

    answers: list[web.Response] = field(default_factory=list)
    seen: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(dict(request.headers))
        if self.answers:
            return self.answers.pop(0)
        accepted = {"id": str(LEAD), "state": "new", "created": True}
        return web.json_response(accepted, status=201)


@contextlib.asynccontextmanager
async def calling(server: Server, retry: Retry = QUICK) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    async with serving(app, host="127.0.0.1", port=0) as url, connect(url, key="k", retry=retry) as client:
        yield client


async def test_what_may_be_repeated_is_tried_again_when_that_may_help() -> None:
    server = Server([problem(503, retryable=True, after="0"), problem(429, retryable=True, after="0")])
    async with calling(server) as ccl:
        assert (await ccl.leads.create(DRAFT)).id == LEAD
    assert len(server.seen) == 3


async def test_every_attempt_at_an_intake_shows_the_same_key() -> None:
    server = Server([problem(503, retryable=True, after="0")])
    async with calling(server) as ccl:
        await ccl.leads.create(DRAFT)
        await ccl.leads.create(DRAFT)
    first, second, other = (headers["Idempotency-Key"] for headers in server.seen)
    assert first == second != other


async def test_what_would_do_more_a_second_time_is_not_repeated() -> None:
    server = Server([problem(503, retryable=True, after="0")])
    async with calling(server) as ccl:
        with pytest.raises(Problem):
            await ccl.keys.create(KEY)
    assert len(server.seen) == 1


async def test_a_final_refusal_is_raised_at_once_with_all_that_it_says() -> None:
    wrong = {"in": "body", "pointer": "#/email", "code": "email", "message": "is not an e-mail address"}
    server = Server([problem(422, retryable=False, request_id="r1", errors=[wrong])])
    async with calling(server) as ccl:
        with pytest.raises(Problem) as refused:
            await ccl.leads.create(DRAFT)
    error = refused.value
    assert (error.status, error.code, error.retryable, error.request_id) == (422, "TEST_001", False, "r1")
    assert [(one.where, one.pointer, one.code) for one in error.errors] == [("body", "#/email", "email")]
    assert len(server.seen) == 1


async def test_attempts_end() -> None:
    server = Server([problem(503, retryable=True, after="0") for _ in range(9)])
    async with calling(server) as ccl:
        with pytest.raises(Problem):
            await ccl.leads.get(LEAD)
    assert len(server.seen) == QUICK.attempts


async def test_a_longer_wait_than_one_is_ready_for_is_told_and_not_waited() -> None:
    server = Server([problem(429, retryable=True, after="3600")])
    async with calling(server) as ccl:
        with pytest.raises(Problem) as refused:
            await ccl.leads.get(LEAD)
    assert refused.value.retry_after == 3600
    assert len(server.seen) == 1


async def test_a_proxys_own_page_is_a_problem_without_a_code() -> None:
    server = Server([web.Response(text="<h1>Bad Gateway</h1>", status=502) for _ in range(9)])
    async with calling(server) as ccl:
        with pytest.raises(Problem) as refused:
            await ccl.leads.get(LEAD)
    assert (refused.value.status, refused.value.code, refused.value.retryable) == (502, "", True)
    assert len(server.seen) == QUICK.attempts


async def test_nobody_there_is_unreachable() -> None:
    async with connect("http://127.0.0.1:1", retry=QUICK) as ccl:
        with pytest.raises(Unreachable):
            await ccl.monitoring.live()


async def test_a_base_url_may_have_a_path() -> None:
    server = Server()
    app = web.Application()
    app.router.add_post("/below/api/leads", server.answer)
    async with serving(app, host="127.0.0.1", port=0) as url, connect(f"{url}/below/", key="k") as ccl:
        assert (await ccl.leads.create(DRAFT)).created
    assert server.seen[0]["Authorization"] == "Bearer k"


@pytest.mark.parametrize(("attempt", "expected"), [(1, 1.0), (2, 2.0), (3, 4.0), (4, None)])
def test_waits_grow_until_attempts_end(attempt: int, expected: float | None) -> None:
    assert Retry(attempts=4, first=1.0).wait(attempt, None, chance=0.5) == expected


def test_what_the_service_asks_for_counts_more_than_ones_own_idea() -> None:
    assert Retry(first=1.0).wait(1, 7.0, chance=0.0) == 7.0
