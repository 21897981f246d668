"""The audit trail over HTTP."""

import json
from typing import Any

import pytest
from aiohttp import ClientPayloadError, web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service
from ccl_service.platform.audit import sql
from ccl_service.platform.audit.api import AUDIT
from ccl_service.platform.audit.model import Caller
from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.lifecycle import working
from ccl_service.platform.problems import DatabaseUnavailable
from tests.service.platform.audit.conftest import ADMIN, Seal
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]


@pytest.fixture
async def trail(client: Client, db: PoolDb) -> None:
    """Three rows, written by the running application's own recorder."""
    audit = client.app[AUDIT]
    await audit.record(db, ADMIN, "keys:create", "api_key", "k1", changes={"name": "a"})
    await audit.record(db, ADMIN, "keys:revoke", "api_key", "k1")
    await audit.record(db, Caller("key", "k1", request_id="request-0009"), "leads:import", "import", "i1")


async def ask(client: Client, headers: dict[str, str], path: str = "", **query: str) -> Any:
    answer = await client.get(f"/api/audit{path}", params=query, headers=headers)
    assert answer.status == 200, await answer.text()
    return await answer.json()


@pytest.mark.usefixtures("trail")
async def test_the_list_is_newest_first_and_paged(client: Client, root: dict[str, str]) -> None:
    first = await ask(client, root, limit="2")
    assert [row["action"] for row in first["items"]] == ["leads:import", "keys:revoke"]
    rest = await ask(client, root, limit="2", after=first["next"])
    assert [row["action"] for row in rest["items"]] == ["keys:create"]
    assert rest["next"] is None


@pytest.mark.usefixtures("trail")
@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"action": "keys:create"}, 1),
        ({"object_kind": "api_key", "object_id": "k1"}, 2),
        ({"principal_kind": "key"}, 1),
        ({"principal_id": "k1"}, 1),
        ({"request_id": "request-0009"}, 1),
        ({"since": "2020-01-01T00:00:00Z"}, 3),
        ({"until": "2020-01-01T00:00:00Z"}, 0),
        ({"action": "keys:create", "principal_kind": "key"}, 0),
    ],
    ids=str,
)
async def test_filters_must_all_match(client: Client, root: dict[str, str], query: dict[str, str], found: int) -> None:
    assert len((await ask(client, root, **query))["items"]) == found


@pytest.mark.parametrize(
    "query", [{"since": "yesterday"}, {"limit": "0"}, {"after": "x"}, {"colour": "red"}, {"after": str(2**63)}], ids=str
)
async def test_a_filter_that_is_none_is_refused(client: Client, root: dict[str, str], query: dict[str, str]) -> None:
    answer = await client.get("/api/audit", params=query, headers=root)
    assert (answer.status, (await answer.json())["code"]) == (422, "VALIDATION_001")


@pytest.mark.usefixtures("trail")
async def test_the_head_names_what_to_keep_and_what_waits(client: Client, root: dict[str, str], seal_all: Seal) -> None:
    before = await ask(client, root, "/head")
    assert (before["v"], before["seq"], before["unsealed"], before["sealed_at"]) == (1, 0, 3, None)
    await seal_all()
    after = await ask(client, root, "/head")
    assert (after["seq"], after["unsealed"]) == (3, 0)
    assert after["head"].startswith("3:")


@pytest.mark.usefixtures("trail")
async def test_the_export_streams_sealed_rows_as_lines(client: Client, root: dict[str, str], seal_all: Seal) -> None:
    assert await (await client.get("/api/audit/export", headers=root)).text() == ""
    await seal_all()
    answer = await client.get("/api/audit/export", headers=root, params={"after": "1"})
    assert answer.content_type == "application/x-ndjson"
    rows = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert [(row["seq"], row["proven"]) for row in rows] == [(2, True), (3, True)]


@pytest.mark.parametrize("path", ["", "/head", "/export"])
async def test_strangers_are_refused(client: Client, path: str) -> None:
    assert (await client.get(f"/api/audit{path}")).status == 401


async def test_an_export_that_cannot_go_on_breaks_off_instead_of_looking_whole(
    client: Client, root: dict[str, str], seal_all: Seal, db: PoolDb, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.app[AUDIT].record(db, ADMIN, "keys:create", "api_key", "k1")
    await seal_all()
    whole = sql.export_page

    async def once(db: Db, *, after: int, **more: Any) -> Any:
        if after:
            raise DatabaseUnavailable
        return await whole(db, after=after, **more)

    monkeypatch.setattr(sql, "export_page", once)
    answer = await client.get("/api/audit/export", headers=root)
    with pytest.raises(ClientPayloadError):
        await answer.read()


async def test_what_a_call_records_is_sealed_by_the_running_service(
    client: Client, root: dict[str, str], service: Service
) -> None:
    async def sealed() -> bool:
        return service.metrics.value("ccl_audit_sealed_total") == 1

    async with working(service.workers, service.phase.stop, service.metrics):
        made = await client.post("/api/keys", json={"name": "a key", "scopes": ["leads:read"]}, headers=root)
        assert made.status == 201
        await eventually(sealed, within=30)
    assert (await ask(client, root, "/head"))["unsealed"] == 0
    assert service.metrics.value("ccl_audit_faults_total", kind="forged") == 0
