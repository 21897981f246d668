"""Whether backups are fresh, by the manifests in a folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccl_contract.backup import MANIFEST, Manifest, backup_id
from ccl_service.platform.checks.backups import backups_fresh
from ccl_service.platform.checks.verdict import Subject, Verdict
from ccl_service.platform.config import load_settings
from tests.unit.service.platform.checks.good import GOOD, NoDb

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def publish(folder: Path, at: datetime) -> Path:
    """A backup set that began at ``at``; returns its folder."""
    name = backup_id(at, b"\x01\x02\x03")
    manifest = Manifest(
        id=name,
        started_at=at,
        finished_at=at + timedelta(minutes=5),
        lsn="0/1",
        server_version_num=170004,
        tool_version="17.4",
        tables=(),
        sha256="0" * 64,
        size_bytes=1,
    )
    (folder / name).mkdir()
    (folder / name / MANIFEST).write_text(manifest.model_dump_json())
    return folder / name


async def ask(folder: Path | None, **environ: str) -> Verdict:
    told = {"BACKUP_MANIFEST_DIR": str(folder)} if folder else {}
    return await backups_fresh(Subject(load_settings(GOOD | told | environ), NoDb(), None, lambda: NOW))


async def found(folder: Path | None, **environ: str) -> tuple[str, str]:
    verdict = await ask(folder, **environ)
    return verdict.status.value, verdict.reason


async def test_a_service_that_is_not_told_where_backups_lie_leaves_them_to_the_operator() -> None:
    assert await found(None) == ("pass", "NotConfigured")


async def test_the_newest_backup_counts_from_its_start(tmp_path: Path) -> None:
    publish(tmp_path, NOW - 60 * HOUR)
    publish(tmp_path, NOW - 26 * HOUR)
    assert await found(tmp_path) == ("pass", "")
    assert await found(tmp_path, BACKUP_MAX_AGE_HOURS="25") == ("warn", "Stale")


async def test_a_set_without_a_manifest_is_no_backup(tmp_path: Path) -> None:
    publish(tmp_path, NOW - 40 * HOUR)
    (publish(tmp_path, NOW) / MANIFEST).unlink()
    assert await found(tmp_path) == ("warn", "Stale")


async def test_no_backup_at_all_is_a_warning_and_other_files_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    assert await found(tmp_path) == ("warn", "NoBackup")


@pytest.mark.parametrize("text", ["", "{", '{"v": 1}', "\udcff"])
async def test_a_broken_manifest_is_a_warning(text: str, tmp_path: Path) -> None:
    (publish(tmp_path, NOW) / MANIFEST).write_text(text, errors="surrogateescape")
    assert await found(tmp_path) == ("warn", "Broken")


async def test_a_folder_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    assert await found(tmp_path / "absent") == ("warn", "Unreadable")
