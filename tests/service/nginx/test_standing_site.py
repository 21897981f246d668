"""A site where nothing is wrong: what callers get who come through nginx, in HTTP/1.1 and in HTTP/2."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from ccl_service.platform.assets import assets
from ccl_service.platform.middleware import HSTS
from ccl_service.platform.problems import CclError, Malformed, TooLarge, ValidationFailed, as_document
from hack.fakes.openai import FakeOpenAi, start_openai
from hack.fakes.script import Rule
from tests.service.chat.system import OPENAI_KEY
from tests.service.conftest import ROOT_KEY, TEMPLATE, fresh_database, variables
from tests.service.nginx.conftest import BEHIND, NAME, Site, opened
from tests.service.nginx.http2 import ask, fields, http2
from tests.service.scraping import total

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def openai() -> AsyncIterator[FakeOpenAi]:
    async with start_openai(api_key=OPENAI_KEY) as fake:
        yield fake


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def database(migrated_template: str) -> AsyncIterator[str]:
    async with fresh_database(migrated_template, template=TEMPLATE) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(database: str, openai: FakeOpenAi, certificate: tuple[Path, Path]) -> AsyncIterator[Site]:
    """One site for all: no test harms it."""
    model = {"OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": openai.url}
    async with opened(variables(database) | BEHIND | model, certificate) as site:
        yield site


async def test_https_is_announced_and_plain_http_sent_there(site: Site) -> None:
    async with site.balancer.client() as client:
        async with client.get("/health") as answer:
            assert answer.status == 200
            assert answer.headers["Strict-Transport-Security"] == HSTS
        plain = f"http://127.0.0.1:{site.balancer.plain}/api/leads?state=new"
        async with aiohttp.ClientSession() as stranger, stranger.post(plain, allow_redirects=False) as answer:
            assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}/api/leads?state=new")
            assert "nginx/" not in answer.headers["Server"]


async def test_only_health_and_the_api_are_forwarded(site: Site) -> None:
    forwarded = set()
    async with site.balancer.client() as client:
        for path in ("/", "/live", "/console", "/metrics", "/health", "/api/nothing"):
            async with client.get(path) as answer:
                forwarded |= {path} if "Vary" in answer.headers else set()
    assert forwarded == {"/health", "/api/nothing"}


async def test_every_header_of_an_answer_is_there_once(site: Site) -> None:
    async with site.balancer.client() as client:
        for path in ("/health", "/api/nothing", "/console"):
            async with client.get(path) as answer:
                names = [name.lower() for name in answer.headers]
            assert sorted(set(names)) == sorted(names)


async def test_large_answers_are_compressed(site: Site) -> None:
    async with (
        site.balancer.client(**{"Accept-Encoding": "gzip"}) as client,
        client.get("/api/openapi.json") as answer,
    ):
        assert answer.headers["Content-Encoding"] == "gzip"
        assert (await answer.json())["openapi"].startswith("3.1")


async def test_a_file_of_a_page_is_asked_for_once_and_kept_for_a_year(site: Site, root: dict[str, str]) -> None:
    path = assets()["style.css"].url
    seen = []
    async with site.balancer.client(**{"Accept-Encoding": "gzip"}) as client:
        for _ in range(5):
            async with client.get(path) as answer:
                assert (answer.status, await answer.read()) == (200, assets()["style.css"].content)
                assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
                assert answer.headers["Content-Encoding"] == "gzip"
                assert "RateLimit" not in answer.headers
                seen.append(answer.headers["X-Request-ID"])
    assert len(set(seen)) == 5
    served = [await total(app.url, root, "ccl_http_requests_total", route="/api/static/{name}") for app in site.apps]
    assert sum(served) == 1


async def said(client: aiohttp.ClientSession, text: str) -> tuple[str, dict[str, str]]:
    """The path of a turn's events, and its visitor's headers."""
    async with client.post("/api/chat/sessions", json={}) as answer:
        token = (await answer.json())["visitor_token"]
    headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "gzip"}
    async with client.post("/api/chat", json={"text": text}, headers=headers) as answer:
        return f"/api/chat/turns/{(await answer.json())['turn_id']}/events", headers


def hold(openai: FakeOpenAi) -> None:
    """Let the model stop for longer than any test waits, once it has written its first sentence."""
    openai.script(Rule(match="slowly", reply={"action": "continue", "reply": "One. Two two two two two."}))
    openai.fault("hold", after_chunks=7, seconds=600)


async def test_an_event_stream_flows_to_its_end(site: Site) -> None:
    async with site.balancer.client() as client:
        path, headers = await said(client, "my credit is bad")
        async with client.get(path, headers=headers) as answer:
            assert "Content-Encoding" not in answer.headers
            names = [line async for line in answer.content if line.startswith(b"event")]
    assert names[-1] == b"event: done\n"
    assert len(names) > 1


async def test_a_sentence_arrives_while_the_model_is_still_at_the_next(site: Site, openai: FakeOpenAi) -> None:
    hold(openai)
    async with site.balancer.client() as client, asyncio.timeout(30):
        path, headers = await said(client, "slowly")
        async with client.get(path, headers=headers) as answer:
            lines = [await answer.content.readline() for _ in range(3)]
    assert lines[0] == b"event: segment\n"
    assert b'"One."' in lines[2]


async def test_a_sentence_arrives_at_once_over_http_2(site: Site, openai: FakeOpenAi) -> None:
    hold(openai)
    async with site.balancer.client() as client:
        path, headers = await said(client, "slowly")
    own = ((name.lower(), value) for name, value in headers.items())
    async with http2(site.balancer) as connection, asyncio.timeout(30):
        stream = connection.send(fields("GET", path, *own))
        while b'"One."' not in stream.body:
            await connection.read()
    assert (stream.status, stream.over) == (200, False)
    assert "content-encoding" not in stream.headers


async def test_a_lead_is_left_over_http_2(site: Site) -> None:
    request = fields("POST", "/api/leads", ("x-api-key", ROOT_KEY), ("content-type", "application/json"))
    answer = await ask(site.balancer, request, b'{"first_name": "Ana", "email": "ana2@example.org"}')
    assert (answer.status, answer.headers["strict-transport-security"]) == (201, HSTS)
    assert json.loads(answer.body)["created"]


@contextlib.asynccontextmanager
async def talking(client: aiohttp.ClientSession) -> AsyncIterator["aiohttp.ClientWebSocketResponse[bool]"]:
    async with client.post("/api/chat/sessions", json={}) as answer:
        token = (await answer.json())["visitor_token"]
    async with client.ws_connect("/api/chat/ws", origin="https://cars.example.com") as ws:
        await ws.send_str(json.dumps({"type": "hello", "visitor_token": token}))
        assert (await ws.receive_json(timeout=30))["type"] == "ready"
        yield ws


async def test_a_socket_is_upgraded_and_answers(site: Site) -> None:
    async with site.balancer.client() as client, talking(client) as ws:
        await ws.send_str(json.dumps({"type": "say", "text": "hello"}))
        kinds = []
        while "done" not in kinds:
            kinds.append((await ws.receive_json(timeout=30))["type"])
    assert kinds[0] == "accepted"
    assert "segment" in kinds


def nested(depth: int) -> bytes:
    return b'{"first_name": ' + b"[" * depth + b"]" * depth + b"}"


#: Body → the problem that it is, whichever way it comes.
HOSTILE: dict[str, tuple[bytes, CclError]] = {
    "nested too deeply": (nested(33), Malformed()),
    "nested without end": (b"[" * 60_000, Malformed()),
    "nested objects without end": (b'{"a":' * 12_000, Malformed()),
    "no utf-8": (b'{"first_name": "\xff\xfe"}', Malformed()),
    "an overlong form": (b'{"first_name": "\xc0\xaf"}', Malformed()),
    "half a pair": (b'{"first_name": "\xed\xa0\x80"}', Malformed()),
    "half a pair, escaped": (b'{"first_name": "\\ud800"}', ValidationFailed([])),
    "nul, escaped": (b'{"first_name": "a\\u0000b"}', ValidationFailed([])),
    "utf-16": ('{"first_name": "Ana"}'.encode("utf-16"), Malformed()),
    "a byte order mark": (b"\xef\xbb\xbf{}", Malformed()),
    "a key twice": (b'{"first_name": "Ana", "first_name": "Eve", "email": "a@example.org"}', Malformed()),
    "a key twice, escaped": (b'{"first_name": "Ana", "first\\u005fname": "Eve"}', Malformed()),
    "a key twice, inside": (b'{"first_name": "Ana", "finance": {"a": 1, "a": 2}}', Malformed()),
    "no number": (b'{"first_name": NaN}', Malformed()),
    "a number without end": (b'{"first_name": 1e999}', Malformed()),
    "two documents": (b"{}{}", Malformed()),
    "a tail": (b'{"first_name": "Ana"}\x00', Malformed()),
}
LARGE = 11_000_000
CHUNK = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
#: 11 MB, said beforehand and never sent, or sent in chunks.
TOO_LARGE = {
    "announced": f"Content-Length: {LARGE}\r\n\r\n".encode(),
    "in chunks": b"Transfer-Encoding: chunked\r\n\r\n" + CHUNK * 11 + b"0\r\n\r\n",
}
FIELDS = (f"Host: {NAME}", f"X-API-Key: {ROOT_KEY}", "Content-Type: application/json", "")
HEAD = "\r\n".join(["POST /api/leads HTTP/1.1", *FIELDS]).encode()


@pytest.mark.parametrize("through", ["nginx", "the process"])
async def test_a_body_that_nobody_should_send_is_a_problem_and_leaves_nothing(
    site: Site, database: str, through: str
) -> None:
    plain = site.apps[0].port if through == "the process" else None
    cases = {name: (_with_length(body), problem) for name, (body, problem) in HOSTILE.items()}
    cases |= {name: (rest, TooLarge()) for name, rest in TOO_LARGE.items()}
    wrong: dict[str, Any] = {}
    before = await _leads(database)
    for name, (rest, problem) in cases.items():
        answer = await site.balancer.answer(HEAD + rest, plain=plain)
        document = json.loads(answer.body)
        known = as_document(problem, instance="/api/leads", request_id=answer.headers["X-Request-ID"])
        if (answer.status, document | {"detail": "", "errors": []}) != (problem.status, known | {"errors": []}):
            wrong[name] = document
    assert wrong == {}
    assert await _leads(database) == before


def _with_length(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


async def _leads(database: str) -> int:
    con = await asyncpg.connect(database)
    try:
        return int(await con.fetchval("SELECT count(*) FROM leads"))
    finally:
        await con.close()
