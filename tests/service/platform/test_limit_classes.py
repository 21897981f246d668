"""Who is counted for what, on the routes that ship."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service
from ccl_service.platform.api_keys import directory
from ccl_service.platform.http import LIMITER, Clock
from ccl_service.platform.limits import LimitClass

Client = TestClient[web.Request, web.Application]
Headers = dict[str, str]
DEFAULT = '"default";q=4;w=86400'
MONITOR_TOKEN = "monitor-token-of-the-limit-tests-001"
NOTHING = "/api/chat/turns/00000000-0000-0000-0000-000000000000/events"


@pytest.fixture
def clock() -> Clock:
    """No window ends while a test runs."""
    moment = datetime.now(UTC)
    return lambda: moment


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Four requests a day for an address, so that no test meets the end of a window."""
    token = tmp_path / "token"
    token.write_text(MONITOR_TOKEN)
    return environ | {
        "MONITOR_KEY_FILE": str(token),
        "MAILGUN_WEBHOOK_SIGNING_KEY": "webhook-key-of-the-limit-tests",
        "RATE_LIMIT_MAX_REQUESTS": "4",
        "RATE_LIMIT_WINDOW_MS": "86400000",
        "TRUST_PROXY": "127.0.0.0/8",
    }


def at(address: str, headers: Headers | None = None) -> Headers:
    return {"X-Forwarded-For": address} | (headers or {})


async def statuses(client: Client, times: int, path: str, headers: Headers, **sent: Any) -> list[int]:
    method = "POST" if sent else "GET"
    found = []
    for _ in range(times):
        async with client.request(method, path, headers=headers, **sent) as answer:
            found.append(answer.status)
    return found


async def policy(client: Client, path: str, headers: Headers, **sent: Any) -> str | None:
    method = "POST" if sent else "GET"
    async with client.request(method, path, headers=headers, **sent) as answer:
        return answer.headers.get("RateLimit-Policy")


@pytest.mark.parametrize("path", ["/live", "/ready", "/health", "/api/monitoring/live", "/api/monitoring/health"])
async def test_probes_are_never_limited(client: Client, path: str) -> None:
    assert await statuses(client, 20, path, at("203.0.113.1")) == [200] * 20
    assert await policy(client, path, at("203.0.113.1")) is None


async def test_strangers_and_the_root_key_share_the_limit_of_their_address(client: Client, root: Headers) -> None:
    assert await statuses(client, 2, "/nowhere", at("203.0.113.1")) == [404, 404]
    assert await statuses(client, 3, "/api/leads", at("203.0.113.1", root)) == [200, 200, 429]
    assert await statuses(client, 1, "/api/openapi.json", at("203.0.113.1")) == [429]
    assert await statuses(client, 1, "/api/leads", at("203.0.113.2", root)) == [200]


async def test_guessing_keys_is_counted_like_any_call(client: Client) -> None:
    assert await statuses(client, 5, "/api/leads", at("203.0.113.1", {"X-API-Key": "guess"})) == [401] * 4 + [429]


async def test_guessing_scoped_keys_ends_before_the_database_is_asked(client: Client, service: Service) -> None:
    found = []
    for number in range(8):
        guess = {"X-API-Key": f"ccl_aaaaaaa{'abcdefgh'[number]}_{'A' * 43}"}
        found += await statuses(client, 1, "/api/leads", at("203.0.113.1", guess))
    assert found == [401] * 4 + [429] * 4


async def key(client: Client, root: Headers, name: str) -> Headers:
    """The headers of a scoped key that nobody has used yet."""
    draft = {"name": name, "scopes": ["leads:read"]}
    async with client.post("/api/keys", json=draft, headers=at("203.0.113.9", root)) as answer:
        return at("203.0.113.1", {"X-API-Key": (await answer.json())["secret"]})


async def test_guesses_of_an_address_do_not_keep_out_a_key_that_has_been_seen(
    client: Client, root: Headers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "REMEMBER_SECONDS", 0.0)  # each look-up asks the database
    used, new = await key(client, root, "used"), await key(client, root, "new")
    assert await statuses(client, 1, "/api/leads", used) == [200]
    for number in range(4):
        guess = {"X-API-Key": f"ccl_aaaaaaa{'abcdefgh'[number]}_{'A' * 43}"}
        assert await statuses(client, 1, "/api/leads", at("203.0.113.1", guess)) == [401]
    assert await statuses(client, 2, "/api/leads", used) == [200] * 2
    assert await statuses(client, 1, "/api/leads", new) == [429]
    assert await statuses(client, 1, "/api/leads", new | at("203.0.113.2")) == [200]
    assert await statuses(client, 1, "/api/leads", new) == [200]


async def test_a_refused_request_says_where_the_caller_stands(client: Client) -> None:
    await statuses(client, 4, "/nowhere", at("203.0.113.1"))
    async with client.get("/nowhere", headers=at("203.0.113.1")) as answer:
        assert answer.status == 429
        assert answer.headers["RateLimit"].startswith('"default";r=0;t=')
        assert answer.headers["RateLimit-Policy"] == DEFAULT
        assert int(answer.headers["Retry-After"]) >= 1


async def test_what_a_limit_refuses_is_counted_by_its_class(client: Client, service: Service) -> None:
    await statuses(client, 6, "/nowhere", at("203.0.113.1"))
    assert service.metrics.value("ccl_http_limited_total", limit="default") == 2


async def test_what_credentials_refuse_is_counted_by_its_code(client: Client, service: Service) -> None:
    await statuses(client, 2, "/api/leads", at("203.0.113.1"))
    await statuses(client, 1, "/api/leads", at("203.0.113.1", {"X-API-Key": MONITOR_TOKEN}))
    assert service.metrics.value("ccl_http_refused_total", code="AUTH_001") == 2
    assert service.metrics.value("ccl_http_refused_total", code="AUTH_003") == 1


async def test_monitoring_has_a_limit_of_its_own(client: Client) -> None:
    headers = at("203.0.113.1", {"Authorization": f"Bearer {MONITOR_TOKEN}"})
    assert await policy(client, "/api/monitoring/metrics/prometheus", headers) == '"monitoring";q=120;w=60'
    await statuses(client, 5, "/nowhere", headers)
    assert await statuses(client, 1, "/api/monitoring/metrics", headers) == [200]


def fill(service: Service, limit_class: LimitClass, subject: str, *, leave: int = 0) -> None:
    """Use a limit up, but for so many requests."""
    limiter = service.app[LIMITER]
    while (standing := limiter.check(limit_class, subject)) and standing.remaining > leave:
        pass


async def visit(client: Client, address: str) -> Headers:
    answer = await client.post("/api/chat/sessions", json={}, headers=at(address))
    return at(address, {"Authorization": f"Bearer {(await answer.json())['visitor_token']}"})


async def test_a_conversation_is_counted_for_itself_however_many_share_its_address(client: Client) -> None:
    ann, ben = await visit(client, "203.0.113.1"), await visit(client, "203.0.113.1")
    assert await policy(client, NOTHING, ann) == '"chat";q=60;w=60'
    assert await statuses(client, 61, NOTHING, ann) == [404] * 59 + [429] * 2
    assert await statuses(client, 1, NOTHING, ben) == [404]


async def test_conversations_of_one_address_have_a_ceiling_that_another_address_does_not_share(
    client: Client, service: Service
) -> None:
    ann, ben = await visit(client, "203.0.113.1"), await visit(client, "203.0.113.1")
    fill(service, LimitClass.CHAT_ADDRESS, "203.0.113.1", leave=1)
    assert await statuses(client, 2, NOTHING, ann) == [404, 429]
    assert await statuses(client, 1, NOTHING, ben) == [429]
    assert await policy(client, NOTHING, ben) == '"chat-address";q=600;w=60'
    assert await statuses(client, 1, NOTHING, ben | at("203.0.113.2")) == [404]


async def test_a_conversation_that_is_refused_does_not_use_its_address_up(client: Client, service: Service) -> None:
    ann, ben = await visit(client, "203.0.113.1"), await visit(client, "203.0.113.1")
    fill(service, LimitClass.CHAT_ADDRESS, "203.0.113.1", leave=61)
    assert await statuses(client, 70, NOTHING, ann) == [404] * 60 + [429] * 10
    assert await statuses(client, 1, NOTHING, ben) == [404]


async def test_new_conversations_have_a_limit_of_their_own(client: Client, service: Service) -> None:
    opening = "/api/chat/sessions"
    assert await policy(client, opening, at("203.0.113.1"), json={}) == '"chat-opening";q=30;w=60'
    assert await statuses(client, 5, "/nowhere", at("203.0.113.1")) == [404] * 4 + [429]
    fill(service, LimitClass.CHAT_OPENING, "203.0.113.1", leave=1)
    assert await statuses(client, 2, opening, at("203.0.113.1"), json={}) == [201, 429]
    assert await statuses(client, 1, opening, at("203.0.113.2"), json={}) == [201]


async def test_guessing_visitors_tokens_is_counted_like_any_call(client: Client) -> None:
    guess = at("203.0.113.1", {"Authorization": "Bearer e30.c3RhdGlj.AAAA"})
    assert await statuses(client, 5, NOTHING, guess) == [401] * 4 + [429]
    assert await statuses(client, 1, "/nowhere", at("203.0.113.1")) == [429]


@pytest.mark.parametrize("path", ["/api/u/forged", "/api/r/forged"])
async def test_of_links_only_forged_ones_count(client: Client, path: str) -> None:
    assert await statuses(client, 5, path, at("203.0.113.1")) == [404] * 4 + [429]
    assert await statuses(client, 1, path, at("203.0.113.2")) == [404]


async def test_of_webhooks_only_bad_signatures_count(client: Client) -> None:
    signature = {"timestamp": "1", "token": "t" * 50, "signature": "0" * 64}
    event = {"event": "delivered", "id": "1", "timestamp": 1}
    sent = {"json": {"signature": signature, "event-data": event}}
    assert await statuses(client, 5, "/api/webhooks/mailgun", at("203.0.113.1"), **sent) == [401] * 4 + [429]


async def test_what_is_no_webhook_at_all_counts_like_a_bad_signature(client: Client) -> None:
    sent = {"data": b"nonsense"}
    assert await statuses(client, 5, "/api/webhooks/mailgun", at("203.0.113.1"), **sent) == [406] * 4 + [429]


async def test_subscribers_of_one_ipv6_network_share_and_its_neighbours_do_not(client: Client) -> None:
    assert await statuses(client, 4, "/nowhere", at("2001:db8:0:1::1")) == [404] * 4
    assert await statuses(client, 1, "/nowhere", at("2001:db8:0:1:ffff::9")) == [429]
    assert await statuses(client, 1, "/nowhere", at("2001:db8:0:2::1")) == [404]
