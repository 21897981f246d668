import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccl_contract.backup import Manifest
from ccl_operator.backup.destination import FolderDestination
from ccl_operator.backup.failure import StepFailed
from ccl_operator.backup.retention import SetState

ID = "20260301T120000Z-abcdef"
#: More than two parts of an upload.
BODY = (b"0123456789abcdef" * 65_536,) * 20


async def _chunks(*parts: bytes, fails: bool = False) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if fails:
        raise StepFailed("pg_dump ended with code 1")


def _manifest(size_bytes: int) -> Manifest:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    return Manifest(
        id=ID,
        started_at=at,
        finished_at=at,
        lsn="0/1",
        server_version_num=170_002,
        tool_version="pg_dump (PostgreSQL) 17.2",
        tables=(),
        sha256="0" * 64,
        size_bytes=size_bytes,
    )


@pytest.fixture
def folder(tmp_path: Path) -> FolderDestination:
    made = FolderDestination.from_url(tmp_path.as_uri())
    made.reserve(ID)
    return made


async def test_an_upload_stores_and_hashes_what_was_streamed(folder: FolderDestination) -> None:
    stored = await folder.upload(ID, _chunks(*BODY))
    body = (folder.root / ID / "dump.pgc").read_bytes()
    assert body == b"".join(BODY)
    assert (stored.size_bytes, stored.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert b"".join([chunk async for chunk in folder.read_dump(ID)]) == body


async def test_an_upload_whose_source_fails_leaves_no_dump(folder: FolderDestination) -> None:
    with pytest.raises(StepFailed, match="ended with code 1"):
        await folder.upload(ID, _chunks(*BODY, fails=True))
    assert not (folder.root / ID / "dump.pgc").exists()


async def test_the_dump_and_its_folders_are_on_disk_before_there_is_a_manifest(
    folder: FolderDestination, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, bool]] = []
    fsync, manifest = os.fsync, folder.root / ID / "manifest.json"

    def recording(descriptor: int) -> None:
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), manifest.exists()))
        fsync(descriptor)

    monkeypatch.setattr("ccl_operator.backup.destination.os.fsync", recording)
    stored = await folder.upload(ID, _chunks(b"dump"))
    await folder.publish(_manifest(stored.size_bytes))
    place = str(folder.root / ID)
    assert synced == [
        (f"{place}/dump.pgc", False),
        (place, False),
        (str(folder.root), False),
        (f"{place}/manifest.json", True),
        (place, True),
        (str(folder.root), True),
    ]


async def test_a_manifest_is_never_replaced(folder: FolderDestination) -> None:
    await folder.publish(_manifest(1))
    with pytest.raises(StepFailed, match="already exists"):
        await folder.publish(_manifest(2))
    assert Manifest.model_validate_json((folder.root / ID / "manifest.json").read_bytes()).size_bytes == 1


def test_an_id_is_used_once(folder: FolderDestination) -> None:
    with pytest.raises(StepFailed, match="File exists"):
        folder.reserve(ID)


async def test_a_set_is_published_when_manifest_and_dump_fit(folder: FolderDestination) -> None:
    stored = await folder.upload(ID, _chunks(b"dump"))
    await folder.publish(_manifest(stored.size_bytes))
    (found,) = folder.sets()
    assert (found.record.state, found.manifest) == (SetState.PUBLISHED, _manifest(4))


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, SetState.UNFINISHED),
        ({"dump.pgc#1": b"half"}, SetState.UNFINISHED),
        ({"dump.pgc": b"dump"}, SetState.UNFINISHED),
        ({"dump.pgc": b"dump", "manifest.json": b""}, SetState.UNFINISHED),
        ({"dump.pgc": b"dump", "manifest.json": b"\0\0"}, SetState.DAMAGED),
        ({"dump.pgc": b"dump", "manifest.json": b'{"v": 2}'}, SetState.DAMAGED),
        ({"dump.pgc": b"dum", "manifest.json": _manifest(4).model_dump_json().encode()}, SetState.DAMAGED),
        ({"manifest.json": _manifest(4).model_dump_json().encode()}, SetState.DAMAGED),
    ],
)
def test_what_does_not_fit_is_no_backup(folder: FolderDestination, files: dict[str, bytes], state: SetState) -> None:
    for name, content in files.items():
        (folder.root / ID / name).write_bytes(content)
    (found,) = folder.sets()
    assert (found.record.state, found.manifest) == (state, None)


def test_a_copied_set_under_another_id_is_damaged(folder: FolderDestination) -> None:
    folder.reserve("20260302T120000Z-abcdef")
    copy = folder.root / "20260302T120000Z-abcdef"
    (copy / "dump.pgc").write_bytes(b"dump")
    (copy / "manifest.json").write_text(_manifest(4).model_dump_json())
    assert folder.sets()[0].record.state is SetState.DAMAGED


def test_other_things_in_the_folder_are_not_ours(folder: FolderDestination) -> None:
    (folder.root / "lost+found").mkdir()
    (folder.root / "20260302T120000Z-abcdef").write_text("a file")
    (folder.root / "20260303T120000Z-abcdef").symlink_to("/")
    assert [found.record.id for found in folder.sets()] == [ID]


def test_a_set_written_to_a_moment_ago_is_as_young_as_that(folder: FolderDestination) -> None:
    (found,) = folder.sets()
    written = datetime.fromtimestamp((folder.root / ID).stat().st_mtime, UTC)
    assert found.record.last_write == written


async def test_a_set_goes_manifest_first(folder: FolderDestination, monkeypatch: pytest.MonkeyPatch) -> None:
    await folder.upload(ID, _chunks(b"dump"))
    await folder.publish(_manifest(4))

    def refuses(path: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("ccl_operator.backup.destination.shutil.rmtree", refuses)
    with pytest.raises(StepFailed, match=f"cannot remove {ID}"):
        folder.remove(ID)
    assert folder.sets()[0].record.state is SetState.UNFINISHED


@pytest.mark.parametrize("url", ["s3://bucket/x", "/backups", "file://elsewhere/backups", "", "file:relative"])
def test_only_a_folder_url_is_a_destination(url: str) -> None:
    with pytest.raises(StepFailed, match="must be a file:///folder URL"):
        FolderDestination.from_url(url)
