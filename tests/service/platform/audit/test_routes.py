"""Whatever changes something over HTTP leaves an audit row, or is on the list of exceptions."""

import json
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient

from ccl_service.main import FEATURES
from ccl_service.platform.assembly import Service
from ccl_service.platform.audit.model import PURPOSE, Macs
from ccl_service.platform.audit.policy import EXCEPTIONS
from ccl_service.platform.db import PoolDb
from ccl_service.platform.http import KEYS
from ccl_service.platform.route import Route
from ccl_service.platform.table import whole_table

Client = TestClient[web.Request, web.Application]
Headers = dict[str, str]
TABLE = whole_table(route for feature in FEATURES for route in feature.routes)
AUDITED = [route for route in TABLE if route.audit]
CSV = "first_name,email\nAnn,ann@example.com\n"


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def test_every_route_that_is_no_get_is_audited_or_an_exception() -> None:
    free = [name(r) for r in TABLE if r.method != "GET" and not r.audit and (r.method, r.path) not in EXCEPTIONS]
    assert free == []


def test_every_exception_is_a_route_that_is_not_audited() -> None:
    table = {(route.method, route.path): route.audit for route in TABLE}
    assert [at for at in EXCEPTIONS if table.get(at, "no such route") is not None] == []


def test_an_action_belongs_to_one_route() -> None:
    actions = [route.audit for route in AUDITED]
    assert len(set(actions)) == len(actions)


async def make_key(client: Client, root: Headers, _: PoolDb) -> ClientResponse:
    return await client.post("/api/keys", json={"name": "a key", "scopes": ["leads:read"]}, headers=root)


async def key_id(client: Client, root: Headers, db: PoolDb) -> str:
    found: str = (await (await make_key(client, root, db)).json())["key"]["id"]
    return found


async def rotate_key(client: Client, root: Headers, db: PoolDb) -> ClientResponse:
    path = f"/api/keys/{await key_id(client, root, db)}/rotate"
    return await client.post(path, json={"overlap_seconds": 60}, headers=root)


async def revoke_key(client: Client, root: Headers, db: PoolDb) -> ClientResponse:
    return await client.delete(f"/api/keys/{await key_id(client, root, db)}", headers=root)


async def stage_import(client: Client, root: Headers, _: PoolDb) -> ClientResponse:
    return await client.post("/api/leads/import", data=CSV, headers=root | {"Content-Type": "text/csv"})


async def retry_work(client: Client, root: Headers, db: PoolDb) -> ClientResponse:
    row = uuid4()
    await db.execute("INSERT INTO imports (id, state) VALUES ($1, 'quarantined')", row)
    return await client.post(f"/api/work/imports/{row}/retry", headers=root)


SCENES: dict[str, Callable[[Client, Headers, PoolDb], Awaitable[ClientResponse]]] = {
    "POST /api/keys": make_key,
    "POST /api/keys/{id}/rotate": rotate_key,
    "DELETE /api/keys/{id}": revoke_key,
    "POST /api/leads/import": stage_import,
    "POST /api/work/{table}/{id}/retry": retry_work,
}


@pytest.mark.parametrize("route", AUDITED, ids=name)
async def test_the_call_leaves_one_row_that_names_action_caller_and_request(
    client: Client, root: Headers, db: PoolDb, route: Route
) -> None:
    answer = await SCENES[name(route)](client, root, db)
    assert answer.status < 300, await answer.text()
    request_id = answer.headers["X-Request-ID"]
    found: list[Any] = await db.fetch("SELECT * FROM audit_log WHERE request_id = $1", request_id)
    assert [(row["action"], row["principal_kind"], row["key_id"]) for row in found] == [(route.audit, "root", "static")]
    assert found[0]["client"] is not None
    assert json.loads(found[0]["changes"]), "it does not say what changed"


async def test_a_call_with_a_scoped_key_leaves_a_row_that_names_the_key(
    client: Client, root: Headers, db: PoolDb
) -> None:
    made = await client.post("/api/keys", json={"name": "imports", "scopes": ["leads:import"]}, headers=root)
    key = await made.json()
    answer = await stage_import(client, {"X-API-Key": key["secret"]}, db)
    assert answer.status == 202, await answer.text()
    found = await client.get("/api/audit", params={"action": "import:staged"}, headers=root)
    rows = (await found.json())["items"]
    told = [(row["principal_kind"], row["principal_id"], row["key_id"], row["request_id"]) for row in rows]
    assert told == [("key", key["key"]["id"], key["key"]["id"], answer.headers["X-Request-ID"])]


async def test_the_row_of_an_import_tells_whether_a_file_is_the_one_that_came(
    client: Client, root: Headers, db: PoolDb, service: Service
) -> None:
    await stage_import(client, root, db)
    changes = json.loads(await db.fetchval("SELECT changes FROM audit_log"))
    macs = Macs(service.app[KEYS].derived(PURPOSE))
    assert changes == {
        "sha256": macs.digest("sha256", sha256(CSV.encode()).hexdigest()),
        "bytes": macs.digest("bytes", len(CSV)),
    }


async def test_a_refused_call_leaves_none(client: Client, root: Headers, db: PoolDb) -> None:
    assert (await client.post("/api/keys", json={"name": "x"}, headers=root)).status == 422
    assert (await client.post("/api/keys", json={"name": "x", "scopes": ["leads:read"]})).status == 401
    assert await db.fetchval("SELECT count(*) FROM audit_log") == 0
