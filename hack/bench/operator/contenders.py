"""The two operators that are compared, as processes."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import psutil

from ccl_operator.config import FASTEST, READS, WRITES
from hack.bench.operator.api import NAMESPACE
from hack.cluster.apiserver import OPERATOR, ApiServer, service_account
from hack.ports import free_port

PEER: Final = service_account("ccl-system", "peer")
HERE: Final = Path(__file__).parent
PATIENCE: Final = 600.0


def wait(what: str, probe: Callable[[], bool], every: float = 0.01, patience: float = PATIENCE) -> float:
    """Seconds until ``probe`` says yes. Raises RuntimeError after ``patience`` seconds, ten minutes at least."""
    started = time.monotonic()
    while not probe():
        if time.monotonic() - started > max(patience, PATIENCE):
            raise RuntimeError(f"waited in vain for: {what}")
        time.sleep(every)
    return time.monotonic() - started


class Contender:
    """One process; ``user`` is whom the audit log knows it as, ``variables`` are of its environment."""

    def __init__(
        self, server: ApiServer, name: str, user: str, log: Path, variables: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.name, self.user = name, user
        self._port = free_port()
        places = {"KUBECONFIG": str(server.kubeconfig_for(user)), "POD_NAME": log.stem}
        path = {"PYTHONPATH": os.pathsep.join(("operator", "service"))}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                env={**os.environ, **places, **path, **IMAGES, **variables},
                stdout=output,
                stderr=output,
            )

    def _command(self) -> list[str]:
        if self.user == PEER.name:
            live = f"http://127.0.0.1:{self._port}/livez"
            kopf = [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", NAMESPACE]
            return [*kopf, "--liveness", live, str(HERE / "peer_kopf.py")]
        ours = [sys.executable, "-m", "ccl_operator", "run", "--namespace", NAMESPACE]
        return [*ours, "--health-port", str(self._port), "--lease-namespace", NAMESPACE]

    def wait_ready(self) -> float:
        """Seconds until its health page answers as it should."""
        page = "/livez" if self.user == PEER.name else "/readyz"
        return wait(f"{self.name} ready", lambda: self._answers(page), every=0.05)

    def megabytes(self, which: Literal["VmRSS", "VmHWM"] = "VmRSS") -> float:
        """Resident memory, now or at most so far (proc(5))."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{which}:")) / 1000

    def cpu_seconds(self) -> float:
        """CPU time used so far."""
        used = psutil.Process(self._process.pid).cpu_times()
        return used.user + used.system

    @property
    def ended(self) -> int | None:
        """The exit code of a process that has ended by itself."""
        return self._process.poll()

    def stop(self) -> None:
        """SIGTERM, and wait."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._process.kill()
        self._process.wait()

    def _answers(self, page: str) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with code {self._process.returncode}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{page}", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


IMAGES: Final = {
    "CCL_IMAGE_POSTGRES_17": "docker.io/library/postgres:17",
    "CCL_IMAGE_BACKUP_17": "localhost/ccl/ccl-backup:test",
    "CCL_IMAGE_REDIS": "docker.io/valkey/valkey:8",
    "CCL_IMAGE_PGBOUNCER": "localhost/ccl/pgbouncer:test",
}


def ours(server: ApiServer, log: Path) -> Contender:
    """The operator of this project."""
    return Contender(server, "ccl-operator", OPERATOR.name, log)


def hasty(writes: int, server: ApiServer, log: Path) -> Contender:
    """The same, with so many writes a second, and as many reads as it may have at most."""
    return Contender(server, "ccl-operator", OPERATOR.name, log, {WRITES: str(writes), READS: str(FASTEST)})


def peer(server: ApiServer, log: Path) -> Contender:
    """Kopf as its tutorial teaches it."""
    return Contender(server, "Kopf's tutorial", PEER.name, log)
