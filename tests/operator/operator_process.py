"""The operator as users run it: a process of its own, with the token and exactly the permissions of its role."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from hack.ports import free_port

Found = TypeVar("Found")

IMAGES: Final = {
    "CCL_IMAGE_POSTGRES_17": "docker.io/library/postgres:17",
    "CCL_IMAGE_BACKUP_17": "localhost/ccl/ccl-backup:test",
    "CCL_IMAGE_REDIS": "docker.io/valkey/valkey:8",
    "CCL_IMAGE_PGBOUNCER": "localhost/ccl/pgbouncer:test",
}
#: Seconds; generous, because two cores may be shared with a build.
DEADLINE: Final = 30.0


def until(what: str, probe: Callable[[], Found | None], timeout: float = DEADLINE) -> Found:
    """The first truthy answer of ``probe``. Fails the test when none comes in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {timeout:.0f} s")


class OperatorProcess:
    """``ccl-operator run``."""

    def __init__(self, kubeconfig: Path, namespace: str, log: Path, name: str = "operator", *options: str) -> None:
        self.name = name
        self._log, self._port = log, free_port()
        command = [sys.executable, "-m", "ccl_operator", "run", "--namespace", namespace]
        command += ["--health-port", str(self._port), "--lease-namespace", namespace, *options]
        environment = os.environ | IMAGES | {"KUBECONFIG": str(kubeconfig), "POD_NAME": name}
        environment["PYTHONPATH"] = os.pathsep.join(("operator", "service"))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def wait_ready(self) -> None:
        """Until /readyz says so. Fails with the log when the process ends instead."""
        until("the operator is ready", self._is_ready)

    def page(self, path: str) -> str:
        """A page of its health server. Raises URLError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
            return str(answer.read().decode())

    def metric(self, sample: str) -> float:
        """The value of one sample, written as on the page; 0 when it is not there yet."""
        for line in self.page("/metrics").splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def log(self) -> str:
        """All that it has logged."""
        return self._log.read_text()

    def stop(self) -> int:
        """SIGTERM; the exit code. Fails when it takes longer than a pod's grace would allow."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def pause(self) -> None:
        """Let it stand still, as a virtual machine that is moved."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def ended(self) -> int | None:
        """The exit code; None while it runs."""
        return self._process.poll()

    def wait_ended(self) -> int:
        """The exit code of a process that ends by itself."""
        return self._process.wait(timeout=DEADLINE)

    def kill(self) -> None:
        """End it, if it still runs."""
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise AssertionError(f"the operator ended with code {self._process.returncode}:\n{self.log()}")
        try:
            return self.page("/readyz") == "ok\n"
        except (urllib.error.URLError, OSError):
            return False
