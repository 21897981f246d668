"""Every route × every credential, against a running application. What is expected follows from the table alone."""

import base64
import json
import re
from collections.abc import Mapping
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
from ccl_service.platform.route import Auth, Route, Scope
from tests.service.conftest import ROOT_KEY

Client = TestClient[web.Request, web.Application]
Headers = Mapping[str, str]
TABLE = route_table()
MONITOR_TOKEN = "monitor-token-of-the-matrix-0000001"
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
    return environ | {"MONITOR_KEY_FILE": str(token), "TRUST_PROXY": "127.0.0.0/8"}


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
        "the root key": Shown(bearer(ROOT_KEY), valid=True, root=True),
        "the root key in its own header": Shown({"X-API-Key": ROOT_KEY}, valid=True, root=True),
        "the monitor token": Shown(
            bearer(MONITOR_TOKEN), valid=True, scopes=frozenset({Scope.MONITORING_READ, Scope.METRICS_SCRAPE})
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


async def ask(client: Client, route: Route, headers: Headers, address: str) -> tuple[int, str]:
    """Status and problem code. Each call comes from an address of its own, so that no limit is met."""
    path = re.sub(r"{\w+}", "none", route.path.replace("{id}", str(uuid4())))
    # an unknown parameter stops a route that would do something without a body
    query = {"surprise": "1"} if route.query is not None else {}
    sent = {"X-Forwarded-For": address, "Content-Type": route.consumes} | dict(headers)
    body = EMPTY if route.method in {"POST", "PUT", "PATCH"} else None
    async with client.request(route.method, path, params=query, data=body, headers=sent) as answer:
        code = (await answer.json())["code"] if answer.content_type == "application/problem+json" else ""
        return answer.status, code


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


@pytest.fixture
async def turn_of_ann(client: Client) -> tuple[str, str]:
    """Ann's token and a turn of hers."""
    token = await visit(client)
    answer = await client.post("/api/chat", json={"text": "hello"}, headers=bearer(token))
    return token, (await answer.json())["turn_id"]


async def test_another_visitors_turn_is_not_found(client: Client, turn_of_ann: tuple[str, str]) -> None:
    ann, turn = turn_of_ann
    for token, status in ((ann, 200), (await visit(client), 404)):
        async with client.get(f"/api/chat/turns/{turn}/events", headers=bearer(token)) as answer:
            assert answer.status == status


async def test_a_turn_that_exists_nowhere_looks_like_another_visitors(
    client: Client, turn_of_ann: tuple[str, str]
) -> None:
    _, turn = turn_of_ann
    stranger = bearer(await visit(client))
    seen = []
    for some in (turn, str(uuid4())):
        answer = await (await client.get(f"/api/chat/turns/{some}/events", headers=stranger)).json()
        seen.append({k: v for k, v in answer.items() if k not in {"instance", "request_id"}})
    assert seen[0] == seen[1]
