"""What every caller meets: problems, headers, CORS, keys, limits, bytes that are not HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pydantic import BaseModel

from ccl_service.main import Service, wall_clock
from ccl_service.platform.assembly import open_platform
from ccl_service.platform.config import Settings, load_settings
from ccl_service.platform.http import Auth, LimitClass, Priority, Route, json_reply, parse_json
from ccl_service.platform.phase import Role
from ccl_service.platform.problems import Unauthenticated
from tests.service.conftest import ServiceServer

Client = TestClient[web.Request, web.Application]


class Echo(BaseModel):
    text: str


async def post_echo(request: web.Request) -> web.Response:
    return json_reply(await parse_json(request, Echo))


async def get_broken(_: web.Request) -> web.Response:
    raise RuntimeError("secret inside")


async def post_signed(request: web.Request) -> web.Response:
    if request.headers.get("X-Signature") != "good":
        raise Unauthenticated
    return json_reply({})


ROUTES = (
    Route("POST", "/echo", post_echo, Auth.PUBLIC, LimitClass.NONE, priority=Priority.READ, body=Echo),
    Route("GET", "/broken", get_broken, Auth.PUBLIC, LimitClass.NONE, priority=Priority.READ),
    Route("GET", "/keyed", get_broken, Auth.ROOT_KEY, LimitClass.DEFAULT, priority=Priority.READ),
    Route("POST", "/signed", post_signed, Auth.SIGNATURE, LimitClass.FAILURES, priority=Priority.READ),
)


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    return environ | {"RATE_LIMIT_MAX_REQUESTS": "5", "TRUST_PROXY": "1", "BODY_LIMIT_BYTES": "2048"}


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with open_platform(settings, role=Role.WEB, features=ROUTES, checks={}, clock=wall_clock) as opened:
        yield opened


async def problem(client: Client, method: str, path: str, **kwargs: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.request(method, path, **kwargs)
    assert answer.content_type == "application/problem+json"
    document = await answer.json()
    assert set(document) - {"errors"} == {
        "type",
        "title",
        "status",
        "detail",
        "instance",
        "code",
        "request_id",
        "retryable",
    }
    assert document["request_id"] == answer.headers["X-Request-ID"]
    return answer.status, document


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"text": "a"', 400, "VALIDATION_002"),
        (b'{"text": "a", "text": "b"}', 400, "VALIDATION_002"),
        (b'{"text": NaN}', 400, "VALIDATION_002"),
        (b'{"text": "\xff"}', 400, "VALIDATION_002"),
        (b"[" * 100_000, 413, "VALIDATION_003"),
        (b"[" * 2000, 400, "VALIDATION_002"),
        (b'{"text": ' + b"9" * 1900 + b"}", 422, "VALIDATION_001"),
        (b'{"text": "a\\u0000b"}', 422, "VALIDATION_001"),
        (b'{"text": "\\ud800"}', 422, "VALIDATION_001"),
        (b"{}", 422, "VALIDATION_001"),
    ],
)
async def test_a_body_that_is_not_as_documented_is_a_problem(
    client: Client, body: bytes, status: int, code: str
) -> None:
    got = await problem(client, "POST", "/echo", data=body, headers={"Content-Type": "application/json"})
    assert (got[0], got[1]["code"]) == (status, code)


async def test_text_is_stored_in_composed_form(client: Client) -> None:
    answer = await client.post("/echo", json={"text": "Jose\u0301"})
    assert await answer.json() == {"text": "Jos\u00e9"}


async def test_another_content_type_is_refused(client: Client) -> None:
    status, document = await problem(client, "POST", "/echo", data=b"x", headers={"Content-Type": "text/plain"})
    assert (status, document["code"]) == (415, "VALIDATION_004")


async def test_a_bug_shows_nothing_of_its_inside(client: Client) -> None:
    status, document = await problem(client, "GET", "/broken")
    assert (status, document["code"], document["retryable"]) == (500, "SYSTEM_001", False)
    assert "secret inside" not in str(document)


async def test_an_unknown_path_is_404_and_a_wrong_method_405_with_allow(client: Client) -> None:
    assert (await problem(client, "GET", "/nowhere"))[0] == 404
    assert (await problem(client, "GET", "/nowhere/%00"))[0] == 404
    status, document = await problem(client, "DELETE", "/echo")
    assert (status, document["code"]) == (405, "NOT_FOUND_002")


async def test_bytes_that_are_not_http_get_a_problem_that_repeats_nothing(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(b"EVIL \x01stuff\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"application/problem+json" in head
    assert b"x-content-type-options: nosniff" in head.lower()
    assert b"Server: ccl\r\n" in head
    assert b"EVIL" not in body
    assert b"stuff" not in body


async def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for path in ("/live", "/nowhere", "/broken"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-XSS-Protection"] == "1; mode=block"
        assert headers["Referrer-Policy"] == "strict-origin-when-cross-origin"
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert "Strict-Transport-Security" not in headers


async def test_hsts_is_sent_when_a_trusted_proxy_says_https(client: Client) -> None:
    headers = (await client.get("/live", headers={"X-Forwarded-Proto": "https"})).headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"


@pytest.mark.parametrize("trust", ["false", "10.0.0.0/8", "10.0.0.0/8,192.168.0.0/16"])
async def test_nobody_but_a_trusted_proxy_is_believed_about_https(environ: dict[str, str], trust: str) -> None:
    settings = load_settings(environ | {"TRUST_PROXY": trust})
    opening = open_platform(settings, role=Role.WEB, features=ROUTES, checks={}, clock=wall_clock)
    async with opening as service, TestClient(ServiceServer(service.app)) as direct:
        headers = (await direct.get("/live", headers={"X-Forwarded-Proto": "https"})).headers
    assert "Strict-Transport-Security" not in headers


async def test_a_request_id_is_taken_over_only_in_a_safe_form(client: Client) -> None:
    good = await client.get("/live", headers={"X-Request-ID": "abc-12345"})
    assert good.headers["X-Request-ID"] == "abc-12345"
    bad = await client.get("/live", headers={"X-Request-ID": "a b<script>"})
    assert bad.headers["X-Request-ID"] != "a b<script>"


async def test_only_the_exact_origin_is_allowed(client: Client) -> None:
    ok = await client.get("/live", headers={"Origin": "https://cars.example.com"})
    assert ok.headers["Access-Control-Allow-Origin"] == "https://cars.example.com"
    other = await client.get("/live", headers={"Origin": "https://cars.example.com.evil.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


async def test_a_preflight_names_the_methods_of_the_path(client: Client) -> None:
    headers = {"Origin": "https://cars.example.com", "Access-Control-Request-Method": "POST"}
    answer = await client.options("/echo", headers=headers)
    assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "POST")
    stranger = await client.options("/echo", headers=headers | {"Origin": "https://evil.example"})
    assert "Access-Control-Allow-Methods" not in stranger.headers


async def test_preflights_of_paths_that_exist_do_not_count_and_other_unknown_calls_do(client: Client) -> None:
    headers = {"Origin": "https://cars.example.com", "Access-Control-Request-Method": "POST"}
    asked = [await client.options("/echo", headers=headers) for _ in range(20)]
    assert {answer.status for answer in asked} == {204}
    assert "RateLimit" not in asked[0].headers
    unknown = [("OPTIONS", "/nowhere"), ("GET", "/echo"), ("OPTIONS", "/nowhere"), ("GET", "/echo"), ("GET", "/no")]
    statuses = [(await client.request(method, path, headers=headers)).status for method, path in unknown]
    assert statuses == [404, 405, 404, 405, 404]
    assert (await client.get("/echo")).status == (await client.options("/nowhere", headers=headers)).status == 429


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"X-API-Key": "wrong"}])
async def test_a_missing_or_wrong_key_is_401(client: Client, headers: dict[str, str]) -> None:
    status, document = await problem(client, "GET", "/keyed", headers=headers)
    assert (status, document["code"]) == (401, "AUTH_001")


async def test_beyond_the_limit_429_says_when_to_return(client: Client) -> None:
    for left in (4, 3, 2, 1, 0):
        answer = await client.get("/keyed")
        assert f"r={left};" in answer.headers["RateLimit"]
        assert answer.headers["RateLimit-Policy"] == '"default";q=5;w=60'
    status, document = await problem(client, "GET", "/keyed")
    assert (status, document["code"], document["retryable"]) == (429, "RATE_LIMIT_001", True)
    assert 1 <= int((await client.get("/keyed")).headers["Retry-After"]) <= 60


async def test_clients_behind_the_proxy_are_counted_apart_and_probes_never(client: Client) -> None:
    for _ in range(6):
        await client.get("/keyed", headers={"X-Forwarded-For": "203.0.113.1"})
    assert (await client.get("/keyed", headers={"X-Forwarded-For": "203.0.113.1"})).status == 429
    assert (await client.get("/keyed", headers={"X-Forwarded-For": "203.0.113.2"})).status == 401
    for _ in range(20):
        assert (await client.get("/live", headers={"X-Forwarded-For": "203.0.113.1"})).status == 200


async def test_only_bad_signatures_count_on_a_signed_route(client: Client) -> None:
    for _ in range(20):
        assert (await client.post("/signed", headers={"X-Signature": "good"})).status == 200
    for _ in range(5):
        assert (await client.post("/signed")).status == 401
    assert (await client.post("/signed")).status == 429


def test_a_route_without_a_policy_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="has no policy"):
        Route("GET", "/open", get_broken, None, LimitClass.NONE, priority=Priority.READ)  # type: ignore[arg-type]


async def test_a_route_that_appears_twice_cannot_be_built(settings: Settings) -> None:
    opening = open_platform(settings, role=Role.WEB, features=ROUTES[:1] * 2, checks={}, clock=wall_clock)
    with pytest.raises(ValueError, match="appears twice"):
        await opening.__aenter__()
