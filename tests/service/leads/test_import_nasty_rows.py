"""Whatever stands in a row, it costs that row only: an import ends, and every row is accounted for."""

import asyncio
import csv
import io
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ccl_service.leads import imports
from ccl_service.leads.jobs import Importer
from ccl_service.mail.service import FirstContacts
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.work import Queue
from tests.service.leads.conftest import NOW
from tests.service.leads.test_import import LEASE, pieces

HEADER = "first_name,email,phone,external_id,requested_at,consent_text,consent_at,consent_source_url,monthly_income"


async def import_whole(db: Any, body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Stage and work one file; its counts and its errors."""
    staging = imports.Imports(db, new_id=uuid4, wake=lambda: None)
    import_id = await staging.stage(pieces(body))
    queue = Queue(db, imports.IMPORTS)
    contacts = FirstContacts(new_id=uuid4, wake=lambda: None)
    (work,) = await queue.claim(uuid4(), LEASE, 1)
    await Importer(db, contacts, now=lambda: NOW, new_id=uuid4).handle(work)
    return await staging.get(import_id), await staging.errors(import_id, after=(0, "", ""), limit=1000)


def file_of(*rows: str) -> bytes:
    return "\n".join((HEADER, *rows, "")).encode()


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ("Ann,ann@example.com,,,2999-01-01T00:00:00Z,,,,", ("requested_at", "future")),
        ("Ann,ann@example.com,,a\0b,,,,,", ("external_id", "control_character")),
        (
            "Ann,ann@example.com,,,,yes,2026-01-01T00:00:00Z,https://a.example/\0,",
            ("consent.source_url", "string_pattern_mismatch"),
        ),
        ("Ann,ann@example.com,,,0001-01-01T00:00:00+14:00,,,,", ("requested_at", "year")),
    ],
)
async def test_a_row_that_cannot_be_stored_is_named_and_the_next_one_is_taken_in(
    db: Any, row: str, error: tuple[str, str]
) -> None:
    told, errors = await import_whole(db, file_of(row, "Bob,bob@example.com,,,,,,,"))
    assert (told["state"], told["rows"], told["accepted"], told["rejected"]) == ("done", 2, 1, 1)
    assert [(one["row"], one["field"], one["code"]) for one in errors] == [(2, *error)]


REFUSALS = {
    "check": ("ALTER TABLE leads ADD CONSTRAINT no_ann CHECK (first_name <> 'Ann')",),
    "value": (
        """CREATE FUNCTION no_ann() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'untranslatable_character'; END $$""",
        "CREATE TRIGGER no_ann BEFORE INSERT ON leads FOR EACH ROW WHEN (NEW.first_name = 'Ann')"
        " EXECUTE FUNCTION no_ann()",
    ),
}


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_row_that_the_database_alone_refuses_is_named_too(db: Any, refusal: str) -> None:
    for statement in REFUSALS[refusal]:
        await db.execute(statement)
    told, errors = await import_whole(db, file_of("Ann,ann@example.com,,,,,,,", "Bob,bob@example.com,,,,,,,"))
    assert (told["state"], told["accepted"], told["rejected"]) == ("done", 1, 1)
    assert [(one["row"], one["code"]) for one in errors] == [(2, "refused")]


ODD = st.sampled_from(
    (
        "",
        "\0",
        "a\0b",
        "\x7f",
        "\x1b[2J",
        "\r",
        '"',
        "\u202e",
        "\ud7ff\uffff",
        "é" * 400,
        "1e999",
        "-1",
        "9" * 40,
        "=cmd()",
    )
)
TIMES = st.sampled_from(("", "2999-12-31T23:59:59Z", "1900-01-01T00:00:00+14:00", "0001-01-01", "1700000000", "1e400"))
MAILS = st.sampled_from(
    ("ann@example.com", "bob@example.com", "a@xn--.com", "ü@example.com", "a@" + "b" * 260, "@", "")
)
CELL = st.one_of(ODD, TIMES, MAILS, st.text(max_size=12))
ROW = st.tuples(
    st.one_of(st.just("Ann"), CELL),
    st.one_of(MAILS, CELL),
    st.one_of(st.sampled_from(("312-555-0142", "+1 312 555 0143", "")), CELL),
    CELL,
    st.one_of(TIMES, CELL),
    CELL,
    st.one_of(TIMES, CELL),
    st.one_of(st.just("https://a.example/\0"), CELL),
    CELL,
)


def test_any_file_ends_with_every_row_accounted_for(database_url: str) -> None:
    async def run(body: bytes) -> dict[str, Any]:
        db = PoolDb(database_url, PoolSize(connections=2))
        await db.open()
        try:
            return (await import_whole(db, body))[0]
        finally:
            await db.close()

    @hypothesis_settings(max_examples=60, deadline=None)
    @given(st.lists(ROW, max_size=8), st.sampled_from(("utf-8", "cp1252")))
    def check(rows: list[tuple[str, ...]], encoding: str) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        body = f"{HEADER}\n{text.getvalue()}".encode(encoding, "replace")
        told = asyncio.run(run(body))
        assert told["state"] == "done"
        assert told["rows"] == told["accepted"] + told["duplicates"] + told["rejected"]

    check()
