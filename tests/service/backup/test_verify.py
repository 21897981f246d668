import hashlib
import json
from pathlib import Path

import pytest

from tests.service.backup.conftest import Runner


@pytest.fixture
def dump(runner: Runner) -> Path:
    assert runner.run("dump").returncode == 0
    (identifier,) = runner.sets()
    return runner.age(identifier, "20260101T000000Z-aaaaaa") / "dump.pgc"


def test_a_good_set_verifies_by_default_and_by_name(runner: Runner, dump: Path) -> None:
    assert runner.run("verify").returncode == 0
    assert f"{dump.parent.name} is good" in runner.run("verify", dump.parent.name).stdout


def test_a_truncated_dump_is_damaged(runner: Runner, dump: Path) -> None:
    dump.write_bytes(dump.read_bytes()[:-100])
    done = runner.run("verify", dump.parent.name)
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "damaged" in runner.run("list").stdout


def test_a_changed_byte_is_found(runner: Runner, dump: Path) -> None:
    body = bytearray(dump.read_bytes())
    body[len(body) // 2] ^= 1
    dump.write_bytes(body)
    done = runner.run("verify")
    assert done.returncode == 1
    assert "sha256" in done.stderr


def test_a_file_that_is_no_dump_is_refused_although_its_hash_fits(runner: Runner, dump: Path) -> None:
    body = dump.read_bytes()[:-100]
    dump.write_bytes(body)
    path = dump.with_name("manifest.json")
    manifest = json.loads(path.read_bytes())
    path.write_text(json.dumps(manifest | {"size_bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}))
    done = runner.run("verify")
    assert done.returncode == 1
    assert "pg_restore ended with code 1" in done.stderr


def test_a_damaged_set_is_never_pruned_and_told(runner: Runner, dump: Path) -> None:
    dump.write_bytes(b"")
    assert runner.run("dump", BACKUP_KEEP_LAST="1").returncode == 0
    assert runner.sets() == [dump.parent.name, runner.report()["id"]]
    assert dump.parent.name in runner.report()["message"]


def test_an_unknown_set_is_named(runner: Runner) -> None:
    done = runner.run("verify", "20260101T000000Z-abcdef")
    assert done.returncode == 1
    assert "there is no set 20260101T000000Z-abcdef" in done.stderr


def test_prune_can_be_tried_without_removing_anything(runner: Runner, dump: Path) -> None:
    runner.run("dump")
    tried = runner.run("prune", "--dry-run", "--keep-last", "1")
    assert f"{dump.parent.name} would be removed" in tried.stdout
    assert len(runner.sets()) == 2
    assert runner.run("prune", "--keep-last", "1").returncode == 0
    assert len(runner.sets()) == 1
