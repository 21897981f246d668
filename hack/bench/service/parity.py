"""Whether a contender has the features that it is measured with. Raises AssertionError where it has not.

Asked are answers: status, headers, problem documents, limits, preflights, metrics. Wording may differ.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

from ccl_service.platform.middleware import SECURITY_HEADERS
from ccl_service.platform.problems import CONTENT_TYPE
from hack.bench.service.contenders import ORIGIN, Ground
from hack.bench.service.process import ROOT_KEY

PROBLEM: Final = frozenset({"type", "title", "status", "detail", "instance", "code", "request_id", "retryable"})
FIELD: Final = frozenset({"in", "pointer", "code", "message"})
GIVEN_ID: Final = "0123456789abcdef0123456789abcdef"
ROOT: Final = {"Authorization": f"Bearer {ROOT_KEY}"}
LIMITED: Final = ("RateLimit", "RateLimit-Policy")


async def probe(port: int, ground: Ground) -> None:
    """Ask for every feature once."""
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
        await _answers(session, ground)
        await _keys(session, ground)
        await _refusals(session)
        await _limits(session, ground)
        await _cors(session, ground)
        await _metrics(session, ground)


async def _asked(
    session: aiohttp.ClientSession, method: str, path: str, headers: Mapping[str, str], body: object = None
) -> tuple[aiohttp.ClientResponse, Any]:
    """The answer and its JSON, with what every answer has checked."""
    async with session.request(method, path, headers=headers, json=body) as answer:
        text = await answer.text()
        where = f"{method} {path} {answer.status} {text[:200]}"
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers.get(name) == value, f"{where}: {name}"
        assert len(answer.headers["X-Request-ID"]) >= 8, where
        document: Any = json.loads(text) if text.startswith("{") else None
        if answer.status >= 400:
            assert answer.content_type == CONTENT_TYPE, where
            assert document.keys() >= PROBLEM, where
            assert (document["status"], document["request_id"]) == (answer.status, answer.headers["X-Request-ID"])
        return answer, document


async def _answers(session: aiohttp.ClientSession, ground: Ground) -> None:
    answer, lead = await _asked(session, "GET", f"/api/leads/{ground.lead}", {**ROOT, "X-Request-ID": GIVEN_ID})
    assert answer.status == 200
    assert answer.headers["X-Request-ID"] == GIVEN_ID
    assert (lead["id"], lead["first_name"], lead["finance"].get("credit_band")) == (str(ground.lead), "Ann", None)
    body = {"first_name": " Bob ", "email": f"bob.{port_of(session)}@EXAMPLE.com"}
    answer, made = await _asked(session, "POST", "/api/leads", ROOT, body)
    assert (answer.status, made["state"], made["created"]) == (201, "new", True), made
    _, lead = await _asked(session, "GET", f"/api/leads/{made['id']}", ROOT)
    assert (lead["first_name"], lead["email"]) == ("Bob", f"bob.{port_of(session)}@example.com"), lead


def port_of(session: aiohttp.ClientSession) -> int:
    """The port that is asked, which makes addresses of people differ."""
    url = session._base_url
    assert url is not None
    return url.port or 0


async def _keys(session: aiohttp.ClientSession, ground: Ground) -> None:
    lead = f"/api/leads/{ground.lead}"
    wrong = ground.scoped[:-4] + "AAAA"
    for headers, status, code in (
        ({}, 401, "AUTH_001"),
        ({"X-API-Key": "nobody's"}, 401, "AUTH_001"),
        ({"X-API-Key": wrong}, 401, "AUTH_001"),
        ({"X-API-Key": ground.scraper}, 403, "AUTH_003"),
    ):
        answer, document = await _asked(session, "GET", lead, headers)
        assert (answer.status, document["code"]) == (status, code), document
    for headers in (ROOT, {"X-API-Key": ROOT_KEY}, {"X-API-Key": ground.scoped}):
        answer, _ = await _asked(session, "GET", lead, headers)
        assert answer.status == 200, headers


async def _refusals(session: aiohttp.ClientSession) -> None:
    for body in (
        {"first_name": "Ann"},
        {"first_name": "", "email": "ann@example.com"},
        {"first_name": "Ann", "email": "no address"},
        {"first_name": "Ann", "email": "ann@example.com", "surname": "Smith"},
    ):
        answer, document = await _asked(session, "POST", "/api/leads", ROOT, body)
        assert (answer.status, document["code"]) == (422, "VALIDATION_001"), document
        assert document["errors"], document
        assert all(one.keys() >= FIELD for one in document["errors"]), document
    answer, _ = await _asked(session, "GET", "/api/nowhere", ROOT)
    assert answer.status == 404
    answer, _ = await _asked(session, "DELETE", "/api/leads", ROOT)
    assert answer.status == 405
    answer, _ = await _asked(session, "GET", f"/api/leads/{GIVEN_ID}", ROOT)
    assert answer.status == 404


async def _limits(session: aiohttp.ClientSession, ground: Ground) -> None:
    answer, _ = await _asked(session, "GET", f"/api/leads/{ground.lead}", ROOT)
    assert all(answer.headers[name].startswith('"default"') for name in LIMITED), answer.headers
    # three, since a window may end between two of them
    found = [await _asked(session, "GET", f"/api/leads/{ground.lead}", {"X-API-Key": ground.tight}) for _ in range(3)]
    assert found[0][0].headers["RateLimit-Policy"] == '"key";q=1;w=60', found[0][0].headers
    refused = [(answer, document) for answer, document in found if answer.status == 429]
    assert refused, [answer.status for answer, _ in found]
    answer, document = refused[0]
    assert document["code"] == "RATE_LIMIT_001"
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert answer.headers["RateLimit"].startswith('"key";r=0;'), answer.headers


async def _cors(session: aiohttp.ClientSession, ground: Ground) -> None:
    path = f"/api/leads/{ground.lead}"
    answer, _ = await _asked(session, "GET", path, {**ROOT, "Origin": ORIGIN})
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    answer, _ = await _asked(session, "GET", path, {**ROOT, "Origin": "https://other.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    async with session.options("/api/leads", headers=asked) as preflight:
        assert preflight.status in {200, 204}
        assert "POST" in preflight.headers["Access-Control-Allow-Methods"]


async def _metrics(session: aiohttp.ClientSession, ground: Ground) -> None:
    path = "/api/monitoring/metrics/prometheus"
    answer, _ = await _asked(session, "GET", path, {})
    assert answer.status == 401
    async with session.get(path, headers={"X-API-Key": ground.scraper}) as found:
        assert (found.status, found.content_type) == (200, "text/plain")
        lines = (await found.text()).splitlines()
    routed = [line for line in lines if 'method="GET"' in line and 'route="/api/leads/{' in line]
    assert any("_requests_total" in line and 'status="200"' in line for line in routed), routed
    assert any("_seconds_bucket" in line for line in routed), routed
    assert any('status="422"' in line for line in lines)
