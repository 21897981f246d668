"""A CSV file is staged, worked in batches that survive a crash, and told about row by row."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ccl_service.leads import imports
from ccl_service.leads.jobs import BATCH_ROWS, Importer
from ccl_service.platform.lifecycle import working
from ccl_service.platform.problems import NotFound, TooLarge
from ccl_service.platform.work import Queue
from tests.service.leads.conftest import NOW
from tests.service.polling import eventually

DEMO = Path(__file__).parents[3] / "hack" / "demo" / "leads.csv"
LEASE = timedelta(seconds=30)
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
async def jobs(service: Any) -> Any:
    async with working(service.workers, service.phase.stop, service.metrics):
        yield


async def imported(client: Any, root: Any, body: bytes) -> dict[str, Any]:
    answer = await client.post("/api/leads/import", data=body, headers=root | CSV)
    assert answer.status == 202
    url = f"/api/leads/imports/{(await answer.json())['id']}"

    async def over() -> bool:
        return (await (await client.get(url, headers=root)).json())["state"] in {"done", "failed"}

    await eventually(over, within=20)
    told: dict[str, Any] = await (await client.get(url, headers=root)).json()
    errors = await (await client.get(told["errors_url"], headers=root)).json()
    return told | {"errors": errors["items"]}


@pytest.mark.usefixtures("jobs")
async def test_the_demo_file_is_taken_in_and_its_broken_rows_are_named(client: Any, root: Any, db: Any) -> None:
    first = await imported(client, root, DEMO.read_bytes())
    assert (first["state"], first["rows"], first["rejected"]) == ("done", 200, 19)
    assert first["duplicates"] == 3
    assert first["accepted"] == await db.fetchval("SELECT count(*) FROM leads") == 178
    assert {"row": 13, "field": "email", "code": "email"} in first["errors"]
    assert {"row": 33, "field": "zip", "code": "zip"} in first["errors"]
    assert {"row": 49, "field": "", "code": "quoting"} in first["errors"]
    assert await db.fetchval("SELECT count(*) FROM leads WHERE first_name = 'José'") == 1
    assert await db.fetchval("SELECT count(*) FROM import_chunks") == 0
    origin = json.dumps({"origin": {"import": first["errors_url"].split("/")[-2]}})
    assert await db.fetchval("SELECT count(*) FROM lead_events WHERE data @> $1::jsonb", origin) == 181
    # Somebody else uploaded them: not their own request, so that quiet hours hold.
    assert await db.fetchval("SELECT count(*) FROM enrolments WHERE requested_at IS NOT NULL") == 0

    second = await imported(client, root, DEMO.read_bytes())
    assert (second["accepted"], second["duplicates"], second["rejected"]) == (0, 181, 19)


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"name,town\nAnn,Springfield\n", "columns_missing"),
        (b"first_name,email,mail\nAnn,a@example.com,b@example.com\n", "columns_repeated"),
        ("first_name,email\nAnn,a@example.com\n".encode("utf-16"), "encoding"),
        (b"first_name", "header"),
    ],
)
async def test_a_file_without_the_columns_fails_as_a_whole(client: Any, root: Any, body: bytes, reason: str) -> None:
    told = await imported(client, root, body)
    assert (told["state"], told["reason"], told["rows"]) == ("failed", reason, 0)


async def test_another_content_type_is_refused(client: Any, root: Any) -> None:
    answer = await client.post("/api/leads/import", json={}, headers=root)
    assert answer.status == 415


async def pieces(*parts: bytes) -> Any:
    for part in parts:
        yield part


async def test_a_file_over_the_limit_leaves_nothing(db: Any, count: Any) -> None:
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)
    with pytest.raises(TooLarge):
        await staging.stage(pieces(b"x" * 600_000, b"x" * 600_000), most_bytes=1_000_000)
    assert [await count(table) for table in ("imports", "import_chunks")] == [0, 0]
    with pytest.raises(NotFound):
        await staging.get(uuid4())


async def test_a_failed_upload_leaves_the_slow_one_of_somebody_else_alone(db: Any) -> None:
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)

    async def slow() -> Any:
        yield b"first_name,email\n"
        await db.execute(
            "UPDATE imports SET created_at = now() - interval '5 hours', due_at = now() - interval '5 hours'"
        )
        with pytest.raises(TooLarge):
            await staging.stage(pieces(b"x" * 100), most_bytes=10)
        yield b"Ann,ann@example.com\n"

    assert (await staging.get(await staging.stage(slow())))["state"] == "queued"


@pytest.mark.parametrize("rest", [b"", b"x" * imports.CHUNK_BYTES], ids=["nothing more comes", "more comes"])
async def test_an_import_that_was_deleted_meanwhile_is_not_said_to_be_staged(
    client: Any, root: Any, db: Any, count: Any, rest: bytes
) -> None:
    async def body() -> Any:
        yield b"x" * imports.CHUNK_BYTES

        async def begun() -> bool:
            return bool(await count("import_chunks"))

        await eventually(begun, within=20)
        await db.execute("DELETE FROM imports")
        yield rest

    answer = await client.post("/api/leads/import", data=body(), headers=root | CSV)
    problem = await answer.json()
    assert (answer.status, problem["code"], problem["retryable"]) == (503, "SYSTEM_002", True)
    assert "Retry-After" in answer.headers
    assert [await count(table) for table in ("imports", "audit_log")] == [0, 0]


class Cut(Exception):
    """The process ends here."""


async def test_a_crash_between_batches_loses_no_row_and_counts_none_twice(
    db: Any, count: Any, first_contacts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = BATCH_ROWS * 3 + 7
    body = "first_name,email\n" + "".join(f"Ann,ann{n}@example.com\n" for n in range(rows))
    # Pieces of odd sizes, so that records lie across their borders.
    monkeypatch.setattr(imports, "CHUNK_BYTES", 1000)
    raw = body.encode()
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)
    import_id = await staging.stage(pieces(*(raw[at : at + 333] for at in range(0, len(raw), 333))))
    assert await count("import_chunks") >= 3

    queue, importer = Queue(db, imports.IMPORTS), Importer(db, first_contacts, now=lambda: NOW, new_id=uuid4)
    real, batches = imports.write_progress, 0

    async def dies_in_the_second_batch(*args: Any) -> None:
        nonlocal batches
        batches += 1
        await real(*args)
        if batches == 2:
            raise Cut

    monkeypatch.setattr(imports, "write_progress", dies_in_the_second_batch)
    (work,) = await queue.claim(uuid4(), LEASE, 1)
    with pytest.raises(Cut):
        await importer.handle(work)
    before = (await staging.get(import_id))["rows"]
    assert 0 < before < rows

    await queue.release(work)
    (work,) = await queue.claim(uuid4(), LEASE, 1)
    await importer.handle(work)
    told = await staging.get(import_id)
    assert (told["state"], told["rows"], told["accepted"], told["duplicates"]) == ("done", rows, rows, 0)
    assert await count("leads") == rows


async def test_a_worker_whose_claim_was_lost_commits_nothing(db: Any, count: Any, first_contacts: Any) -> None:
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)
    await staging.stage(pieces(b"first_name,email\nAnn,ann@example.com\n"))
    queue, importer = Queue(db, imports.IMPORTS), Importer(db, first_contacts, now=lambda: NOW, new_id=uuid4)
    (work,) = await queue.claim(uuid4(), LEASE, 1)
    await queue.release(work)
    with pytest.raises(imports.ClaimLost):
        await importer.handle(work)
    assert await count("leads") == 0
