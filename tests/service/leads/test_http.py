"""Leads over HTTP: keys, problems, pages, filters."""

from typing import Any

import pytest

ANN = {"first_name": "Ann", "email": "ann@example.com", "phone": "(312) 555-0142", "zip": "60601-1234"}


async def test_without_a_key_nothing_is_taken_in_or_given_out(client: Any) -> None:
    assert (await client.post("/api/leads", json=ANN)).status == 401
    assert (await client.get("/api/leads")).status == 401
    assert (await client.post("/api/leads/import", data=b"x", headers={"Content-Type": "text/csv"})).status == 401


async def test_a_new_lead_is_201_and_a_known_one_200(client: Any, root: Any) -> None:
    first, second = [await client.post("/api/leads", json=ANN, headers=root) for _ in range(2)]
    assert (first.status, second.status) == (201, 200)
    assert (await first.json())["id"] == (await second.json())["id"]


async def test_the_timeline_names_the_key_and_the_request_that_brought_a_lead(client: Any, root: Any) -> None:
    asked = {"name": "partner", "scopes": ["leads:write"]}
    partner = await (await client.post("/api/keys", json=asked, headers=root)).json()
    first = await client.post("/api/leads", json=ANN, headers=root)
    again = await client.post("/api/leads", json=ANN, headers={"X-API-Key": partner["secret"]})
    lead = (await first.json())["id"]
    timeline = await (await client.get(f"/api/leads/{lead}/timeline", headers=root)).json()
    origins = [event["data"]["origin"] for event in timeline["items"] if "source" in event["data"]]
    assert origins == [
        {"principal": "root", "key_id": "static", "request_id": first.headers["X-Request-ID"]},
        {"principal": "key", "key_id": partner["key"]["id"], "request_id": again.headers["X-Request-ID"]},
    ]
    assert "127.0.0.1" not in str(timeline)


async def test_a_repeated_key_gets_the_first_answer_and_another_body_a_problem(client: Any, root: Any) -> None:
    headers = root | {"Idempotency-Key": "abc"}
    first, second = [await client.post("/api/leads", json=ANN, headers=headers) for _ in range(2)]
    assert (first.status, second.status) == (201, 201)
    assert await first.json() == await second.json()
    other = await client.post("/api/leads", json=ANN | {"zip": "10001"}, headers=headers)
    assert (other.status, (await other.json())["code"]) == (422, "IDEMPOTENCY_001")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"phone": "555-0123"}, "phone"),
        ({"zip": "2139"}, "zip"),
        ({"first_name": "  "}, "first_name"),
        ({"requested_at": "2999-01-01T00:00:00Z"}, "requested_at"),
        ({"consent": {"text": "yes"}}, "consent/at"),
        ({"ssn": "x"}, "ssn"),
    ],
)
async def test_a_wrong_field_is_named_and_its_value_is_not_repeated(
    client: Any, root: Any, change: dict[str, Any], field: str
) -> None:
    answer = await client.post("/api/leads", json=ANN | change, headers=root)
    problem = await answer.json()
    assert (answer.status, problem["code"]) == (422, "VALIDATION_001")
    assert [error["pointer"] for error in problem["errors"]] == [f"#/{field}"]
    assert "nobody" not in await answer.text()


async def test_card_and_ssn_like_text_never_reaches_the_database(client: Any, root: Any, db: Any) -> None:
    text = "a sedan; card 4111 1111 1111 1111, ssn 078-05-1120"
    await client.post("/api/leads", json=ANN | {"vehicle_interest": text}, headers=root)
    stored = await db.fetchval("SELECT vehicle_interest FROM leads")
    assert stored == "a sedan; card [redacted], ssn [redacted]"


async def test_consent_is_kept_as_given(client: Any, root: Any) -> None:
    consent = {
        "text": "You may call me.",
        "at": "2026-11-23T10:00:00Z",
        "source_url": "https://apply.example.com/3",
        "ip": "192.0.2.7",
        "certificate_url": "https://cert.example.com/1",
    }
    answer = await client.post("/api/leads", json=ANN | {"consent": consent}, headers=root)
    lead = await client.get(f"/api/leads/{(await answer.json())['id']}", headers=root)
    assert (await lead.json())["consent"] == consent


async def test_pages_hold_every_lead_once_newest_first(client: Any, root: Any) -> None:
    for number in range(7):
        body = {"first_name": "Ann", "email": f"ann{number}@example.com"}
        assert (await client.post("/api/leads", json=body, headers=root)).status == 201
    seen: list[str] = []
    after: str | None = None
    while True:
        query = {"limit": "3"} | ({"after": after} if after else {})
        page = await (await client.get("/api/leads", params=query, headers=root)).json()
        seen += [lead["email"] for lead in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert seen == [f"ann{number}@example.com" for number in reversed(range(7))]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"q": "ANN@example.com"}, 1),
        ({"q": "312.555.0142"}, 1),
        ({"q": "bob@example.com"}, 0),
        ({"state": "new"}, 1),
        ({"state": "closed"}, 0),
        ({"source": "upload"}, 0),
        ({"created_from": "2999-01-01T00:00:00Z"}, 0),
        ({"created_to": "2999-01-01T00:00:00Z"}, 1),
    ],
)
async def test_a_filter_keeps_what_matches(client: Any, root: Any, query: dict[str, str], found: int) -> None:
    await client.post("/api/leads", json=ANN, headers=root)
    page = await (await client.get("/api/leads", params=query, headers=root)).json()
    assert len(page["items"]) == found


@pytest.mark.parametrize("query", [{"after": "x"}, {"state": "odd"}, {"q": "a@b"}, {"limit": "0"}, {"sort": "x"}])
async def test_a_wrong_filter_is_refused(client: Any, root: Any, query: dict[str, str]) -> None:
    assert (await client.get("/api/leads", params=query, headers=root)).status == 422


async def test_a_timeline_comes_in_pages_oldest_first(client: Any, root: Any) -> None:
    lead = (await (await client.post("/api/leads", json=ANN, headers=root)).json())["id"]
    first = await (await client.get(f"/api/leads/{lead}/timeline?limit=1", headers=root)).json()
    rest = await (await client.get(f"/api/leads/{lead}/timeline?after={first['next']}", headers=root)).json()
    assert [event["kind"] for event in first["items"] + rest["items"]] == ["lead.created", "mail.queued"]
    assert rest["next"] is None


@pytest.mark.parametrize("path", ["/api/leads/x", "/api/leads/6c9a2b9e-0000-4000-8000-000000000000"])
async def test_an_unknown_lead_is_404(client: Any, root: Any, path: str) -> None:
    assert (await client.get(path, headers=root)).status == 404
    assert (await client.get(f"{path}/timeline", headers=root)).status == 404
