"""Scoped keys as their makers and their holders meet them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from ccl_service.main import Service, open_service
from ccl_service.platform.api_keys.directory import REMEMBER_SECONDS
from ccl_service.platform.config import Settings
from ccl_service.platform.db import PoolDb
from ccl_service.platform.http import DB, DIRECTORY
from tests.service.conftest import ServiceServer
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
Headers = dict[str, str]


async def make(client: Client, root: Headers, **draft: Any) -> dict[str, Any]:
    answer = await client.post("/api/keys", json={"name": "CRM", "scopes": ["leads:read"]} | draft, headers=root)
    assert answer.status == 201, await answer.text()
    made: dict[str, Any] = await answer.json()
    return made


def bearer(made: dict[str, Any]) -> Headers:
    return {"Authorization": f"Bearer {made['secret']}"}


async def status(client: Client, headers: Headers, path: str = "/api/leads") -> int:
    async with client.get(path, headers=headers) as answer:
        return answer.status


async def test_a_new_key_opens_what_its_scopes_say_and_nothing_else(client: Client, root: Headers) -> None:
    key = bearer(await make(client, root, scopes=["leads:read"]))
    assert await status(client, key) == 200
    answer = await client.post("/api/leads", json={"first_name": "Ann", "email": "ann@example.com"}, headers=key)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (403, "AUTH_003")
    assert "leads:write" in problem["detail"]
    assert await status(client, key, "/api/keys") == 403


async def test_a_scrape_only_key_reads_prometheus_and_no_other_view(client: Client, root: Headers) -> None:
    key = bearer(await make(client, root, scopes=["metrics:scrape"]))
    assert await status(client, key, "/api/monitoring/metrics/prometheus") == 200
    assert await status(client, key, "/api/monitoring/metrics") == 403
    assert await status(client, key, "/api/monitoring/config") == 403


async def test_the_secret_is_shown_once_and_only_its_digest_is_kept(client: Client, root: Headers, db: PoolDb) -> None:
    made = await make(client, root)
    secret, prefix = made["secret"], made["key"]["secrets"][0]["prefix"]
    assert secret.startswith(f"{prefix}_")
    listed = await (await client.get("/api/keys", headers=root)).text()
    assert prefix in listed
    assert secret not in listed
    stored = await db.fetchval("SELECT string_agg(k::text || s::text, '') FROM api_keys k, api_key_secrets s")
    assert secret.rpartition("_")[2] not in stored


async def test_the_answer_with_a_secret_is_kept_by_no_cache(client: Client, root: Headers) -> None:
    answer = await client.post("/api/keys", json={"name": "CRM", "scopes": ["leads:read"]}, headers=root)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Location"] == f"/api/keys/{(await answer.json())['key']['id']}"


async def test_the_right_prefix_with_another_secret_is_refused(client: Client, root: Headers) -> None:
    made = await make(client, root)
    assert await status(client, {"X-API-Key": made["secret"][:-4] + "AAAA"}) == 401
    assert await status(client, bearer(made)) == 200


async def test_a_revoked_key_opens_nothing_and_revoking_twice_is_the_same(client: Client, root: Headers) -> None:
    made = await make(client, root)
    path = f"/api/keys/{made['key']['id']}"
    assert await status(client, bearer(made)) == 200
    assert [(await client.delete(path, headers=root)).status for _ in range(2)] == [204, 204]
    assert await status(client, bearer(made)) == 401
    assert (await (await client.get(path, headers=root)).json())["state"] == "revoked"


async def test_a_revocation_reaches_another_process_within_five_seconds(
    client: Client, root: Headers, settings: Settings
) -> None:
    assert REMEMBER_SECONDS < 5
    made = await make(client, root)
    async with open_service(settings) as other, TestClient(ServiceServer(other.app)) as replica:
        assert await status(replica, bearer(made)) == 200
        await client.delete(f"/api/keys/{made['key']['id']}", headers=root)

        async def refused() -> bool:
            return await status(replica, bearer(made)) == 401

        await eventually(refused, within=30)


async def test_an_expired_key_opens_nothing(client: Client, root: Headers, db: PoolDb, service: Service) -> None:
    made = await make(client, root, expires_at=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
    assert await status(client, bearer(made)) == 200
    await db.execute("UPDATE api_keys SET expires_at = now()")
    service.app[DIRECTORY].forget()
    assert await status(client, bearer(made)) == 401
    (listed,) = (await (await client.get("/api/keys", headers=root)).json())["items"]
    assert listed["state"] == "expired"


async def test_after_a_rotation_both_secrets_open_until_the_overlap_ends(
    client: Client, root: Headers, db: PoolDb, service: Service
) -> None:
    old = await make(client, root)
    path = f"/api/keys/{old['key']['id']}/rotate"
    new = await (await client.post(path, json={"overlap_seconds": 3600}, headers=root)).json()
    assert new["secret"] != old["secret"]
    assert [s["valid_until"] is None for s in new["key"]["secrets"]] == [True, False]
    assert [await status(client, bearer(k)) for k in (old, new)] == [200, 200]
    await db.execute("UPDATE api_key_secrets SET valid_until = now() WHERE valid_until IS NOT NULL")
    service.app[DIRECTORY].forget()
    assert [await status(client, bearer(k)) for k in (old, new)] == [401, 200]


async def test_a_rotation_without_overlap_ends_the_old_secret_at_once(client: Client, root: Headers) -> None:
    old = await make(client, root)
    assert await status(client, bearer(old)) == 200
    await client.post(f"/api/keys/{old['key']['id']}/rotate", json={"overlap_seconds": 0}, headers=root)
    assert await status(client, bearer(old)) == 401


async def test_a_second_rotation_does_not_lengthen_the_life_of_the_first_secret(client: Client, root: Headers) -> None:
    path = f"/api/keys/{(await make(client, root))['key']['id']}/rotate"
    short = await (await client.post(path, json={"overlap_seconds": 60}, headers=root)).json()
    long = await (await client.post(path, json={"overlap_seconds": 86400}, headers=root)).json()
    assert long["key"]["secrets"][2] == short["key"]["secrets"][1]


async def test_a_revoked_key_cannot_be_rotated(client: Client, root: Headers) -> None:
    path = f"/api/keys/{(await make(client, root))['key']['id']}"
    await client.delete(path, headers=root)
    answer = await client.post(f"{path}/rotate", json={}, headers=root)
    assert (answer.status, (await answer.json())["code"]) == (409, "KEY_001")


async def test_an_unknown_key_is_not_found(client: Client, root: Headers) -> None:
    path = "/api/keys/00000000-0000-0000-0000-000000000000"
    assert (await client.get(path, headers=root)).status == 404
    assert (await client.delete(path, headers=root)).status == 404
    assert (await client.post(f"{path}/rotate", json={}, headers=root)).status == 404


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"name": " "}, "#/name"),
        ({"name": "a\u0000"}, "#/name"),
        ({"scopes": []}, "#/scopes"),
        ({"scopes": ["everything"]}, "#/scopes/0"),
        ({"requests_per_minute": 0}, "#/requests_per_minute"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "#/expires_at"),
        ({"expires_at": "2031-01-01T00:00:00"}, "#/expires_at"),
        ({"surprise": 1}, "#/surprise"),
    ],
)
async def test_a_draft_that_makes_no_sense_is_refused_with_its_place(
    client: Client, root: Headers, change: dict[str, Any], pointer: str
) -> None:
    answer = await client.post("/api/keys", json={"name": "a", "scopes": ["leads:read"]} | change, headers=root)
    assert answer.status == 422
    assert [e["pointer"] for e in (await answer.json())["errors"]] == [pointer]


async def test_the_list_goes_through_every_key_once_newest_first(client: Client, root: Headers) -> None:
    for number in range(5):
        await make(client, root, name=f"key {number}")
    seen: list[str] = []
    path = "/api/keys?limit=2"
    while True:
        page = await (await client.get(path, headers=root)).json()
        seen += [key["name"] for key in page["items"]]
        if page["next"] is None:
            break
        path = f"/api/keys?limit=2&after={page['next']}"
    assert seen == [f"key {n}" for n in (4, 3, 2, 1, 0)]


async def test_a_key_is_held_to_its_own_limit_wherever_it_calls_from(client: Client, root: Headers) -> None:
    made = await make(client, root, requests_per_minute=3)
    async with client.get("/api/leads", headers=bearer(made)) as answer:
        assert answer.headers["RateLimit-Policy"] == '"key";q=3;w=60'
    statuses = [await status(client, bearer(made)) for _ in range(4)]
    # the window may end in between, once
    assert 429 in statuses
    assert await status(client, root) == 200


async def test_the_last_use_is_noted_once_a_minute_at_most(client: Client, root: Headers, service: Service) -> None:
    made = await make(client, root)
    path = f"/api/keys/{made['key']['id']}"

    async def last_used() -> str | None:
        found: str | None = (await (await client.get(path, headers=root)).json())["last_used_at"]
        return found

    assert await last_used() is None
    await status(client, bearer(made))
    await service.app[DIRECTORY].write_used()
    first = await last_used()
    assert first is not None
    await status(client, bearer(made))
    await service.app[DIRECTORY].write_used()
    assert await last_used() == first


async def test_without_the_database_no_key_is_guessed_at_and_open_routes_stay_open(
    client: Client, root: Headers, service: Service
) -> None:
    made = await make(client, root, scopes=["metrics:scrape"])
    pool = service.app[DB]
    assert isinstance(pool, PoolDb)
    await pool.close()
    assert await status(client, bearer(made), "/api/monitoring/metrics/prometheus") == 503
    assert await status(client, bearer(made), "/api/monitoring/production-readiness") == 200
    assert await status(client, root, "/api/monitoring/metrics/prometheus") == 200


async def test_every_change_of_a_key_leaves_a_row_in_the_audit_trail_and_a_repetition_none(
    client: Client, root: Headers, db: PoolDb
) -> None:
    path = f"/api/keys/{(await make(client, root))['key']['id']}"
    await client.post(f"{path}/rotate", json={}, headers=root)
    for _ in range(2):
        await client.delete(path, headers=root)
    rows = await db.fetch("SELECT action FROM audit_log ORDER BY id")
    assert [row["action"] for row in rows] == ["key:created", "key:rotated", "key:revoked"]


async def test_rotations_at_the_same_time_leave_one_newest_secret(client: Client, root: Headers) -> None:
    path = f"/api/keys/{(await make(client, root))['key']['id']}"
    answers = await asyncio.gather(
        *(client.post(f"{path}/rotate", json={"overlap_seconds": 0}, headers=root) for _ in range(5))
    )
    made = [await answer.json() for answer in answers]
    assert [answer.status for answer in answers] == [201] * 5
    kept = (await (await client.get(path, headers=root)).json())["secrets"]
    assert [secret["valid_until"] for secret in kept] == [None]
    assert sorted([await status(client, bearer(one)) for one in made]) == [200, 401, 401, 401, 401]


@given(steps=st.lists(st.sampled_from(["rotate", "rotate and keep", "revoke", "expire"]), max_size=5))
@hypothesis.settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
async def test_after_any_history_exactly_the_right_secrets_open(
    client: Client, root: Headers, db: PoolDb, service: Service, steps: list[str]
) -> None:
    first = await make(client, root)
    path, made, valid, usable = f"/api/keys/{first['key']['id']}", [first], {first["secret"]}, True
    for step in steps:
        if step.startswith("rotate"):
            overlap = 3600 if step.endswith("keep") else 0
            answer = await client.post(f"{path}/rotate", json={"overlap_seconds": overlap}, headers=root)
            assert answer.status == (201 if usable else 409)
            if usable:
                made.append(await answer.json())
                valid = (valid if overlap else set()) | {made[-1]["secret"]}
            continue
        usable, valid = False, set()
        if step == "revoke":
            assert (await client.delete(path, headers=root)).status == 204
        else:
            await db.execute("UPDATE api_keys SET expires_at = now() WHERE id = $1::uuid", first["key"]["id"])
    service.app[DIRECTORY].forget()
    assert {one["secret"] for one in made if await status(client, bearer(one)) == 200} == valid
