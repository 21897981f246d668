"""PgBouncer as its image runs it: settings arrive at any moment, and never at the price of the process."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator.operator_process import free_port, until

SCRIPT = Path("hack/images/pgbouncer/run-pgbouncer.sh").resolve()
SETTINGS = "[databases]\nccl = host=127.0.0.1 port=1\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n"
SETTINGS += "unix_socket_dir =\nauth_type = any\nmax_client_conn = {clients}\n"
#: PgBouncer refuses to run as root.
IDENTITY = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
#: Stands in front of the real one on PATH, and comes to life when it is told to.
SLOW_START = """#!/bin/bash
touch "$FOLDER/begun"
until [ -e "$FOLDER/go" ]; do sleep 0.05; done
exec pgbouncer-itself "$@"
"""


class Pooler:
    """The script, the folder that a kubelet would fill, and what it says."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self._log = folder / "log"

    def start(self) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "pgbouncer-itself").symlink_to(program)
        shim = self.folder / "bin" / "pgbouncer"
        shim.write_text(SLOW_START)
        shim.chmod(0o755)
        environment = {"PATH": f"{self.folder}/bin:{os.environ['PATH']}", "FOLDER": str(self.folder)}
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [SCRIPT, self.folder],
                env=environment | {"DRAIN_SECONDS": "0"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **IDENTITY,
            )
        until("the process has begun", (self.folder / "begun").exists)

    def go(self) -> None:
        """Let PgBouncer itself start."""
        self.write("go", "")

    def configure(self, *, clients: int) -> None:
        self.write("pgbouncer.ini", SETTINGS.format(port=self.port, clients=clients))

    def write(self, name: str, text: str) -> None:
        """As a kubelet does: whole or not at all."""
        fresh = self.folder / f".{name}"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.folder / name)

    def says(self, text: str) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        return text in self._log.read_text()

    def accepts(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        (self.folder / "go").touch()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    folder = Path(tempfile.mkdtemp(prefix="ccl-pooler-"))
    if IDENTITY:
        shutil.chown(folder, IDENTITY["user"])
    made = Pooler(folder, free_port())
    made.configure(clients=100)
    made.write("userlist.txt", "")
    made.write("paused", "false")
    yield made
    made.close()
    shutil.rmtree(folder)


def soon(pooler: Pooler, text: str) -> None:
    until(text, lambda: pooler.says(text))


def test_a_pod_that_starts_while_the_database_is_paused_comes_up_and_holds_queries(pooler: Pooler) -> None:
    pooler.write("paused", "true")
    pooler.start()
    pooler.go()
    soon(pooler, "paused is true now")
    soon(pooler, "SIGUSR1")
    assert pooler.accepts()
    pooler.write("paused", "false")
    soon(pooler, "SIGUSR2")


def test_settings_that_change_while_it_starts_are_read_again_once_it_runs(pooler: Pooler) -> None:
    pooler.start()
    pooler.configure(clients=200)
    pooler.go()
    soon(pooler, "RELOAD")
    soon(pooler, "SIGHUP")
    assert pooler.accepts()


def test_settings_that_cannot_be_read_for_a_moment_are_not_forgotten(pooler: Pooler) -> None:
    pooler.start()
    pooler.go()
    until("it accepts connections", pooler.accepts)
    (pooler.folder / "userlist.txt").unlink()
    soon(pooler, "userlist.txt: No such file")
    pooler.write("userlist.txt", '"ccl" "secret"\n')
    soon(pooler, "RELOAD")


def test_it_ends_when_it_is_asked_to(pooler: Pooler) -> None:
    pooler.start()
    pooler.go()
    until("it accepts connections", pooler.accepts)
    pooler.process.send_signal(signal.SIGTERM)
    assert pooler.process.wait(15) == 0


def test_a_pgbouncer_that_cannot_start_ends_the_container(pooler: Pooler) -> None:
    pooler.write("pgbouncer.ini", "[pgbouncer]\nno_such_setting = 1\n")
    pooler.start()
    pooler.go()
    assert pooler.process.wait(15) != 0
