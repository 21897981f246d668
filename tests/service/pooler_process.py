"""PgBouncer as its image runs it, on a folder that the test fills as a kubelet would."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hack.ports import free_port
from tests.operator.operator_process import until

SCRIPT: Final = Path("hack/images/pgbouncer/run-pgbouncer.sh").resolve()
SETTINGS: Final = (
    "[databases]\nccl = host=127.0.0.1 port=1\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 6432\n"
    "unix_socket_dir =\nauth_type = any\nmax_client_conn = {clients}\n"
)
#: PgBouncer refuses to run as root.
IDENTITY: Final[dict[str, Any]] = {"user": "nobody", "group": "nogroup"} if os.geteuid() == 0 else {}
#: Stands in front of the real one on PATH, and comes to life when it is told to.
SLOW_START: Final = """#!/bin/bash
touch "$FOLDER/begun"
until [ -e "$FOLDER/go" ]; do sleep 0.05; done
exec pgbouncer-itself "$@"
"""


class Pooler:
    """The script, its folder, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._authorities = "/etc/ssl/certs/ca-certificates.crt"
        self._log = folder / "log"
        program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
        assert program is not None
        self._program = program

    def start(self) -> None:
        """Run the script; PgBouncer itself waits for ``go``."""
        (self.folder / "bin").mkdir()
        (self.folder / "bin" / "pgbouncer-itself").symlink_to(self._program)
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
        """Settings of no consequence but this number."""
        self.fill({"pgbouncer.ini": SETTINGS.format(clients=clients), "userlist.txt": "", "paused": "false"})

    def fill(self, files: Mapping[str, str]) -> None:
        """The files of the pooler's Secret, on this test's port and folder."""
        settings = files["pgbouncer.ini"].replace("listen_port = 6432", f"listen_port = {self.port}")
        settings = settings.replace("/etc/pgbouncer/", f"{self.folder}/")
        settings = settings.replace("/etc/ssl/certs/ca-certificates.crt", self._authorities)
        if not self._remembers_statements():
            settings = re.sub(r"^max_prepared_statements.*\n", "", settings, flags=re.MULTILINE)
        for name, text in {**files, "pgbouncer.ini": settings}.items():
            self.write(name, text)

    def trust(self, certificate: Path) -> None:
        """From the next ``fill`` on a server is known by this certificate, and no longer by the machine's."""
        self.write("authorities.pem", certificate.read_text())
        self._authorities = str(self.folder / "authorities.pem")

    def write(self, name: str, text: str) -> None:
        """As a kubelet does: whole or not at all."""
        fresh = self.folder / f".{name}"
        fresh.write_text(text)
        fresh.chmod(0o644)
        fresh.rename(self.folder / name)

    def says(self, text: str) -> bool:
        """Whether it has said so, and runs."""
        assert self.process.poll() is None, self._log.read_text()
        return text in self._log.read_text()

    def accepts(self) -> bool:
        """Whether it takes connections."""
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """End it, if it still runs."""
        (self.folder / "go").touch()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        finally:
            self.process.kill()

    def _remembers_statements(self) -> bool:
        """From 1.21 on; Debian bookworm has an older one, the image none."""
        told = subprocess.run([self._program, "--version"], capture_output=True, text=True, check=True).stdout
        return tuple(map(int, re.findall(r"\d+", told)[:2])) >= (1, 21)


@contextmanager
def made() -> Iterator[Pooler]:
    """One that has not been started yet, with settings that work."""
    folder = Path(tempfile.mkdtemp(prefix="ccl-pooler-"))
    if IDENTITY:
        shutil.chown(folder, IDENTITY["user"])
    pooler = Pooler(folder)
    pooler.configure(clients=100)
    try:
        yield pooler
    finally:
        pooler.close()
        shutil.rmtree(folder)
