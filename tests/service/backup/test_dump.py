import hashlib
import subprocess
from pathlib import Path

from ccl_contract.audit import head_text
from ccl_contract.backup import Manifest
from ccl_operator.backup.snapshot import table_counts
from tests.service.backup.conftest import BINARIES, QUOTED, ROWS, PostgresProcess, Runner


def _restored_rows(postgres: PostgresProcess, dump: Path) -> dict[str, int]:
    postgres.execute("DROP DATABASE IF EXISTS restored WITH (FORCE)")
    postgres.execute("CREATE DATABASE restored")
    subprocess.run(
        [BINARIES[16] / "pg_restore", "--exit-on-error", "-d", postgres.url("restored"), dump],
        check=True,
        capture_output=True,
    )
    counts = postgres.run(table_counts, "restored")
    postgres.execute("DROP DATABASE restored WITH (FORCE)")
    return {table.name: table.rows for table in counts}


def test_a_dump_restores_into_a_new_database_with_equal_row_counts(runner: Runner, postgres: PostgresProcess) -> None:
    done = runner.run("dump")
    assert done.returncode == 0, done.stderr
    (identifier,) = runner.sets()
    manifest = Manifest.model_validate(runner.manifest(identifier))
    assert {table.name: table.rows for table in manifest.tables} == ROWS
    assert _restored_rows(postgres, runner.folder / identifier / "dump.pgc") == ROWS


def test_manifest_and_report_describe_the_stored_object(runner: Runner) -> None:
    runner.run("dump")
    (identifier,) = runner.sets()
    body = (runner.folder / identifier / "dump.pgc").read_bytes()
    manifest, report = runner.manifest(identifier), runner.report()
    assert (manifest["sha256"], manifest["size_bytes"]) == (hashlib.sha256(body).hexdigest(), len(body))
    assert manifest["server_version_num"] // 10_000 == 16
    assert manifest["tool_version"].startswith("pg_dump (PostgreSQL) 16")
    assert "/" in manifest["lsn"]
    expected = {"ok": True, "stage": "prune", "id": identifier, "tables": 4, "rows": 517, "kept": 1, "pruned": 0}
    assert {name: report[name] for name in expected} == expected
    assert (report["sha256"], report["size_bytes"], report["message"]) == (manifest["sha256"], len(body), "")


def test_the_manifest_keeps_where_the_audit_chain_ended(
    runner: Runner, postgres: PostgresProcess, database: str
) -> None:
    runner.run("dump")
    (identifier,) = runner.sets()
    assert runner.manifest(identifier)["audit_head"] is None
    postgres.execute(
        "CREATE TABLE audit_state (last_seq bigint, head bytea); INSERT INTO audit_state VALUES (42, sha256('x'))",
        database,
    )
    runner.run("dump")
    (newest,) = set(runner.sets()) - {identifier}
    assert runner.manifest(newest)["audit_head"] == head_text(42, hashlib.sha256(b"x").digest())


def test_an_empty_database_is_a_backup_too(runner: Runner, postgres: PostgresProcess, database: str) -> None:
    postgres.execute('DROP TABLE lead, event; DROP SCHEMA "Odd Name" CASCADE', database)
    assert runner.run("dump").returncode == 0
    assert runner.report()["tables"] == 0


def test_others_cannot_read_a_dump(runner: Runner) -> None:
    runner.run("dump")
    (identifier,) = runner.sets()
    for path in (runner.folder / identifier, *(runner.folder / identifier).iterdir()):
        assert path.stat().st_mode & 0o007 == 0, path


def test_only_the_newest_sets_stay(runner: Runner) -> None:
    for day in (1, 2):
        assert runner.run("dump", BACKUP_KEEP_LAST="2").returncode == 0
        runner.age(runner.report()["id"], f"2026010{day}T000000Z-aaaaaa")
    assert runner.run("dump", BACKUP_KEEP_LAST="2").returncode == 0
    assert runner.report()["kept"] == 2
    assert runner.report()["pruned"] == 1
    assert runner.sets() == ["20260102T000000Z-aaaaaa", runner.report()["id"]]


def test_the_plain_url_serves_when_there_is_no_direct_one(runner: Runner) -> None:
    url = runner.environment["DATABASE_DIRECT_URL"]
    assert runner.run("dump", DATABASE_DIRECT_URL="", DATABASE_URL=url).returncode == 0


def test_a_wrong_password_names_the_stage_and_is_never_printed(runner: Runner, postgres: PostgresProcess) -> None:
    url = postgres.url("postgres", password="s3cret-and-wr0ng")
    done = runner.run("dump", DATABASE_DIRECT_URL=url)
    assert done.returncode == 1
    assert (runner.report()["ok"], runner.report()["stage"]) == (False, "snapshot")
    assert "password authentication failed" in runner.report()["message"]
    assert "s3cret" not in done.stdout + done.stderr + runner.log.read_text()
    assert runner.sets() == []


def test_a_url_with_a_bare_slash_in_its_password_is_refused_unquoted(runner: Runner) -> None:
    done = runner.run("dump", DATABASE_DIRECT_URL="postgresql://keeper:s3cr/et@127.0.0.1:1/postgres")
    assert done.returncode == 1
    assert "percent-encode" in runner.report()["message"]
    assert "s3cr" not in done.stdout + done.stderr + runner.log.read_text()


def test_an_older_pg_dump_is_refused_by_both_versions(runner: Runner, newer_postgres: PostgresProcess) -> None:
    done = runner.run("dump", DATABASE_DIRECT_URL=newer_postgres.url("postgres"))
    assert done.returncode == 1
    message = runner.report()["message"]
    assert "pg_dump 16." in message
    assert "PostgreSQL 18." in message
    assert runner.sets() == []


def test_a_missing_client_program_is_named(runner: Runner) -> None:
    assert runner.run("dump", PATH="/nonexistent").returncode == 1
    assert "cannot run pg_dump" in runner.report()["message"]


def test_a_destination_that_is_not_mounted_is_refused(runner: Runner) -> None:
    assert runner.run("dump", BACKUP_DESTINATION="file:///nowhere/at/all").returncode == 1
    assert (runner.report()["stage"], "volume mounted" in runner.report()["message"]) == ("dump", True)


def test_a_failing_pg_dump_leaves_no_set(runner: Runner, postgres: PostgresProcess, database: str) -> None:
    # Counting needs no right on the sequence; pg_dump reads its value and is refused.
    postgres.execute(
        """CREATE ROLE reader LOGIN PASSWORD 'reads'; CREATE SEQUENCE numbers;
           GRANT USAGE ON SCHEMA public, "Odd Name" TO reader;
           GRANT SELECT ON ALL TABLES IN SCHEMA public, "Odd Name" TO reader;
           REVOKE ALL ON SEQUENCE numbers FROM reader""",
        database,
    )
    url = postgres.url(database).replace(f"keeper:{QUOTED}", "reader:reads")
    done = runner.run("dump", DATABASE_DIRECT_URL=url)
    postgres.execute("DROP OWNED BY reader; DROP ROLE reader", database)
    assert done.returncode == 1
    assert runner.report()["stage"] == "dump"
    assert "permission denied for sequence numbers" in runner.report()["message"]
    assert runner.sets() == []


def test_a_destination_that_cannot_be_written_is_named(runner: Runner) -> None:
    # Not even root may make a folder there.
    assert runner.run("dump", BACKUP_DESTINATION="file:///proc").returncode == 1
    assert "cannot write to the backup destination" in runner.report()["message"]
