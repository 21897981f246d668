"""A pg_dump that stops in the middle of its output: a wrapper holds the real one back until it is let go."""

import signal
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccl_operator.backup.destination import FolderDestination
from ccl_operator.backup.prune import prune
from ccl_operator.backup.retention import UNFINISHED_AFTER
from tests.service.backup.conftest import BINARIES, ROWS, PostgresProcess, Runner


@pytest.fixture
def held_dump(tmp_path: Path) -> Path:
    """A folder whose ``pg_dump`` writes ``started``, and goes on when ``go`` exists."""
    folder = tmp_path / "held"
    folder.mkdir()
    script = f"""#!/bin/sh
case "$1" in --version) exec {BINARIES[16]}/pg_dump --version ;; esac
# More than one part of an upload, so that the destination holds a piece of it.
head -c 40000000 /dev/zero
touch {folder}/started
while [ ! -e {folder}/go ]; do sleep 0.05; done
"""
    (folder / "pg_dump").write_text(script)
    (folder / "pg_dump").chmod(0o755)
    return folder


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def _start(runner: Runner, held: Path) -> subprocess.Popen[str]:
    process = runner.start("dump", PATH=f"{held}:{runner.environment['PATH']}")
    _wait((held / "started").exists, "pg_dump did not start")
    _wait(lambda: any(runner.folder.glob("*/dump.pgc#*")), "nothing was uploaded")
    return process


def test_sigterm_removes_the_unfinished_upload_and_says_where_it_was(runner: Runner, held_dump: Path) -> None:
    process = _start(runner, held_dump)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert (runner.report()["ok"], runner.report()["stage"]) == (False, "dump")
    assert runner.sets() == []


def test_a_killed_dump_leaves_no_manifest_and_is_pruned_after_48_hours(runner: Runner, held_dump: Path) -> None:
    process = _start(runner, held_dump)
    process.kill()
    process.communicate(timeout=20)
    (held_dump / "go").touch()
    (identifier,) = runner.sets()
    assert not (runner.folder / identifier / "manifest.json").exists()
    assert runner.run("verify").returncode == 1
    destination, now = FolderDestination.from_url(runner.folder.as_uri()), datetime.now(UTC)
    assert prune(destination, keep_last=1, now=now + timedelta(hours=47), say=_silent).removed == ()
    late = now + UNFINISHED_AFTER + timedelta(minutes=1)
    assert prune(destination, keep_last=1, now=late, say=_silent).removed == (identifier,)
    assert runner.sets() == []


def test_writes_during_the_dump_are_in_neither_the_dump_nor_the_counts(
    runner: Runner, postgres: PostgresProcess, database: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.mkdir()
    (gate / "pg_dump").write_text(
        f"""#!/bin/sh
case "$1" in --version) exec {BINARIES[16]}/pg_dump --version ;; esac
touch {gate}/started
while [ ! -e {gate}/go ]; do sleep 0.05; done
exec {BINARIES[16]}/pg_dump "$@"
"""
    )
    (gate / "pg_dump").chmod(0o755)
    process = runner.start("dump", PATH=f"{gate}:{runner.environment['PATH']}")
    _wait((gate / "started").exists, "pg_dump did not start")
    postgres.execute("INSERT INTO lead SELECT n, 'late' FROM generate_series(501, 900) n", database)
    (gate / "go").touch()
    process.communicate(timeout=30)
    assert process.returncode == 0
    (identifier,) = runner.sets()
    assert {table["name"]: table["rows"] for table in runner.manifest(identifier)["tables"]} == ROWS
    assert _rows_in(runner.folder / identifier / "dump.pgc", "lead") == ROWS["public.lead"]


def _rows_in(dump: Path, table: str) -> int:
    arguments = [str(BINARIES[16] / "pg_restore"), "--data-only", "-t", table, "-f", "-", str(dump)]
    text = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout
    return len(text.split("FROM stdin;\n")[1].split("\n\\.\n")[0].splitlines())


def _silent(_: str) -> None:
    return None
