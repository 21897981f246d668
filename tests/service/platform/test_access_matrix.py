"""Every route × every credential, against a running application. What is expected follows from the table alone."""

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service, route_table
from ccl_service.platform.api_keys.model import KeyDraft
from ccl_service.platform.auth import VISITOR_LIFETIME, VISITOR_PURPOSE, issue_visitor
from ccl_service.platform.db import PoolDb
from ccl_service.platform.http import DIRECTORY, KEYS
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.route import Auth, Priority, Route, Scope
from tests.service.conftest import ROOT_KEY

Client = TestClient[web.Request, web.Application]
Headers = Mapping[str, str]
TABLE = route_table()
MONITOR_TOKEN = "monitor-token-of-the-matrix-0000001"
ROOT_KEYS = {
    "previous": "previous-root-key-of-the-matrix-0001",
    "current": ROOT_KEY,
    "next": "next-root-key-of-the-matrix-0000000001",
}
#: Answered as soon as somebody is let in, whatever the method: too little to change anything.
EMPTY = b"{}"


@dataclass(frozen=True)
class Shown:
    """What a caller shows. ``valid``: a key that exists now; ``visitor``: the token of a conversation."""

    headers: Headers
    valid: bool = False
    root: bool = False
    visitor: bool = False
    scopes: frozenset[Scope] = frozenset()


def expected(route: Route, shown: Shown) -> str:
    """``in``, or the code of the refusal."""
    if route.auth in {Auth.PUBLIC, Auth.SIGNATURE}:
        return "in"
    if route.auth is Auth.VISITOR:
        return "in" if shown.visitor else "AUTH_001"
    if not shown.valid:
        return "AUTH_001"
    if route.auth is Auth.ROOT_KEY:
        return "in" if shown.root else "AUTH_002"
    return "in" if shown.root or route.scope in shown.scopes else "AUTH_003"


@pytest.fixture
def environ(environ: dict[str, str], tmp_path: Path) -> dict[str, str]:
    token = tmp_path / "token"
    token.write_text(MONITOR_TOKEN)
    keys = [{"id": state, "state": state, "secret": secret} for state, secret in ROOT_KEYS.items()]
    root = tmp_path / "internal-api.json"
    root.write_text(json.dumps({"v": 1, "keys": keys}))
    return environ | {
        "INTERNAL_API_KEY": "",
        "INTERNAL_API_KEY_FILE": str(root),
        "MONITOR_KEY_FILE": str(token),
        "TRUST_PROXY": "127.0.0.0/8",
    }


async def visit(client: Client) -> str:
    answer = await client.post("/api/chat/sessions", json={})
    token: str = (await answer.json())["visitor_token"]
    return token


async def make_key(client: Client, root: Headers, *scopes: Scope) -> dict[str, Any]:
    draft = KeyDraft(name="matrix", scopes=list(scopes)).model_dump(mode="json")
    made: dict[str, Any] = await (await client.post("/api/keys", json=draft, headers=root)).json()
    return made


def bearer(key: str) -> Headers:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
async def credentials(client: Client, service: Service, db: PoolDb, root: Headers) -> Mapping[str, Shown]:
    """Everything that anybody may show, by name."""
    keys, now = service.app[KEYS], datetime.now(UTC)
    scoped = {scope: (await make_key(client, root, scope))["secret"] for scope in Scope}
    every, expired, revoked, rotated = [await make_key(client, root, *Scope) for _ in range(4)]
    await db.execute("UPDATE api_keys SET expires_at = now() WHERE id = $1::uuid", expired["key"]["id"])
    await client.delete(f"/api/keys/{revoked['key']['id']}", headers=root)
    await client.post(f"/api/keys/{rotated['key']['id']}/rotate", json={"overlap_seconds": 0}, headers=root)
    service.app[DIRECTORY].forget()
    old = issue_visitor(keys, str(uuid4()), now=now - VISITOR_LIFETIME - timedelta(seconds=1))
    token = await visit(client)
    claims = json.dumps({"c": str(uuid4()), "exp": 9_999_999_999}).encode()
    basic = base64.b64encode(f"root:{ROOT_KEY}".encode()).decode()
    return {
        "nothing": Shown({}),
        "a wrong key": Shown(bearer("wrong")),
        "a wrong key in its own header": Shown({"X-API-Key": "wrong"}),
        "the root key as a password": Shown({"Authorization": f"Basic {basic}"}),
        "the root key but for its last character": Shown(bearer(ROOT_KEY[:-1])),
        "bytes that are no text": Shown({"X-API-Key": "\udcff\udcfe"}),
        **{f"the {s} root key": Shown(bearer(key), valid=True, root=True) for s, key in ROOT_KEYS.items()},
        "the root key in its own header": Shown({"X-API-Key": ROOT_KEY}, valid=True, root=True),
        "the monitor token": Shown(
            bearer(MONITOR_TOKEN),
            valid=True,
            scopes=frozenset({Scope.MONITORING_READ, Scope.MONITORING_SHED, Scope.METRICS_SCRAPE}),
        ),
        **{f"a key for {s.value}": Shown(bearer(k), valid=True, scopes=frozenset({s})) for s, k in scoped.items()},
        "a key for everything": Shown(bearer(every["secret"]), valid=True, scopes=frozenset(Scope)),
        "an expired key": Shown(bearer(expired["secret"])),
        "a revoked key": Shown(bearer(revoked["secret"])),
        "a secret that was rotated away": Shown(bearer(rotated["secret"])),
        "a made-up key": Shown(bearer(f"ccl_aaaaaaaa_{'A' * 43}")),
        "a visitor's token": Shown(bearer(token), visitor=True),
        "a visitor's token that has ended": Shown(bearer(old)),
        "a token of another purpose": Shown(bearer(keys.sign("return-link", claims))),
        "a visitor's token with another conversation in it": Shown(bearer(_forged(token))),
        "a visitor's claims signed with another key": Shown(bearer(_other_key(keys.sign(VISITOR_PURPOSE, claims)))),
    }


def _forged(token: str) -> str:
    _, rest = token.split(".", 1)
    body = base64.urlsafe_b64encode(json.dumps({"c": str(uuid4()), "exp": 9_999_999_999}).encode()).rstrip(b"=")
    return f"{body.decode()}.{rest}"


def _other_key(token: str) -> str:
    return token[:-2] + ("AA" if token[-2:] != "AA" else "BB")


async def ask(
    client: Client, route: Route, headers: Headers, address: str, *, method: str | None = None
) -> tuple[int, str]:
    """Status and problem code. Each call comes from an address of its own, so that no limit is met."""
    path = re.sub(r"{\w+}", "none", route.path.replace("{id}", str(uuid4())))
    # an unknown parameter stops a route that would do something without a body
    query = {"surprise": "1"} if route.query is not None else {}
    sent = {"X-Forwarded-For": address, "Content-Type": route.consumes} | dict(headers)
    body = EMPTY if route.method in {"POST", "PUT", "PATCH"} else None
    async with client.request(method or route.method, path, params=query, data=body, headers=sent) as answer:
        problem = await answer.text() if answer.content_type == "application/problem+json" else ""
        return answer.status, json.loads(problem)["code"] if problem else ""


def addresses() -> Any:
    return (f"203.0.{n // 250}.{n % 250 + 1}" for n in range(60_000))


async def test_every_route_lets_in_exactly_those_whom_its_policy_names(
    client: Client, credentials: Mapping[str, Shown]
) -> None:
    wrong, source = [], addresses()
    for route in TABLE:
        for name, shown in credentials.items():
            status, code = await ask(client, route, shown.headers, next(source))
            got = code if code in {"AUTH_001", "AUTH_002", "AUTH_003"} else "in"
            if route.auth in {Auth.PUBLIC, Auth.SIGNATURE}:
                got = "in"  # what the handler says of a signature or an origin is compared below
            if got != expected(route, shown) or (status >= 500 and code != "WEBHOOK_001"):
                wrong.append(f"{route.method} {route.path} with {name}: {status} {code}")
    assert wrong == []


async def test_on_an_open_route_no_credential_changes_whether_one_is_let_in(
    client: Client, credentials: Mapping[str, Shown]
) -> None:
    source = addresses()
    for route in (r for r in TABLE if r.auth in {Auth.PUBLIC, Auth.SIGNATURE}):
        answers = {name: await ask(client, route, s.headers, next(source)) for name, s in credentials.items()}
        assert len(set(answers.values())) == 1, (route.path, answers)


async def test_whoever_may_get_may_ask_for_the_head_and_nobody_else(
    client: Client, credentials: Mapping[str, Shown]
) -> None:
    source = addresses()
    for route in (r for r in TABLE if r.method == "GET" and r.priority is Priority.PROBE):
        for name, shown in credentials.items():
            get, head = [(await ask(client, route, shown.headers, next(source), method=m))[0] for m in ("GET", "HEAD")]
            assert get == head, (route.path, name)


def shape(value: Any) -> Any:
    """The names in a document, without what stands under them."""
    return {name: shape(part) for name, part in value.items()} if isinstance(value, dict) else None


#: Open routes that tell more to whoever may read monitoring.
DETAILED = {"/health", "/api/monitoring/health", "/api/monitoring/production-readiness"}


@pytest.mark.parametrize("path", sorted(DETAILED))
async def test_details_of_an_open_route_need_the_scope_and_no_other_credential_shows_them(
    client: Client, credentials: Mapping[str, Shown], path: str
) -> None:
    shapes, source = {}, addresses()
    for name, shown in credentials.items():
        async with client.get(path, headers={"X-Forwarded-For": next(source), **shown.headers}) as answer:
            shapes[name] = shape(await answer.json())
    row = next(r for r in TABLE if r.path == path)
    for name, shown in credentials.items():
        # a probe asks no database whose key it is
        looked_up = row.limit is not LimitClass.NONE or not name.startswith("a key for ")
        trusted = shown.root or (Scope.MONITORING_READ in shown.scopes and looked_up)
        assert (shapes[name] != shapes["nothing"]) == trusted, name


async def test_no_other_open_route_tells_anybody_more(client: Client, credentials: Mapping[str, Shown]) -> None:
    source = addresses()
    for route in (r for r in TABLE if r.auth is Auth.PUBLIC and r.method == "GET" and r.path not in DETAILED):
        path = route.path.replace("{code}", "AUTH_001").replace("{token}", "none")
        answers = {}
        for name, shown in credentials.items():
            async with client.get(path, headers={"X-Forwarded-For": next(source), **shown.headers}) as answer:
                text = await answer.text()
                request_id = answer.headers["X-Request-ID"]
                answers[name] = answer.status, text.replace(request_id, "")
        assert len(set(answers.values())) == 1, route.path


async def a_turn(client: Client, owner: Headers) -> dict[str, str]:
    """A turn of the visitor's."""
    async with client.post("/api/chat", json={"text": "hello"}, headers=owner) as answer:
        return {"id": (await answer.json())["turn_id"]}


#: Route of what belongs to a visitor → how it comes to be, as the values of the path.
OBJECTS: Mapping[str, Callable[[Client, Headers], Awaitable[dict[str, str]]]] = {
    "GET /api/chat/turns/{id}/events": a_turn,
}


def test_everything_that_belongs_to_a_visitor_is_tried_by_a_stranger() -> None:
    assert {f"{r.method} {r.path}" for r in TABLE if r.auth is Auth.VISITOR and "{" in r.path} == set(OBJECTS)


@pytest.mark.parametrize("route", OBJECTS)
async def test_what_is_another_visitors_looks_like_what_is_nowhere(client: Client, route: str) -> None:
    method, template = route.split()
    owner, stranger = bearer(await visit(client)), bearer(await visit(client))
    values = await OBJECTS[route](client, owner)
    async with client.request(method, template.format(**values), headers=owner) as answer:
        assert answer.status < 400
    seen = []
    for some in (values, {name: str(uuid4()) for name in values}):
        async with client.request(method, template.format(**some), headers=stranger) as answer:
            problem = await answer.json()
        seen.append({k: v for k, v in problem.items() if k not in {"instance", "request_id"}})
    assert seen[0] == seen[1]
    assert seen[0]["status"] == 404
