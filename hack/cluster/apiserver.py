"""etcd and kube-apiserver as ordinary processes on loopback, from the node binary: a real Kubernetes API without nodes.

For tests of the operator against RBAC, CRD rules, watches and the audit log. There is no controller manager, scheduler
or kubelet: who uses it sets statuses by hand, garbage collection does not happen, and namespaces never finish deleting.
"""

import json
import os
import signal
import ssl
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from hack.cluster import build
from hack.files import write_private
from hack.ports import free_port
from hack.run import Command, Failure, beside, run, tail, wait_until

AUDIT_POLICY: Final = Path(__file__).parent / "native" / "files" / "audit.yaml"
START_TIMEOUT: Final = 60.0


@dataclass(frozen=True)
class User:
    """A user that the server knows by a static token."""

    name: str
    token: str
    groups: tuple[str, ...] = ()


def service_account(namespace: str, name: str) -> User:
    """A user that RBAC takes for that ServiceAccount (kubernetes.io, "Authenticating", service account tokens)."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", f"token-of-{namespace}-{name}", groups)


ADMIN: Final = User("admin", "token-of-admin", ("system:masters",))
OPERATOR: Final = service_account("ccl-system", "ccl-operator")


@dataclass(frozen=True)
class ApiServer:
    """A running server."""

    url: str
    ca: Path
    """PEM file that the server's certificate is checked against."""
    kubeconfig: Path
    """For ADMIN."""
    audit_log: Path
    """All writes with their users, one JSON event a line; to be read with audit.py."""
    workdir: Path
    users: tuple[User, ...]
    pid: int = 0
    """The process of kube-apiserver."""

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Stop the process for the length of the block, as a machine does that is out of memory or paused: connections
        stay open and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def token_for(self, user: str) -> str:
        """The token of a user by full name (`system:serviceaccount:NAMESPACE:NAME`). Raises KeyError."""
        return {known.name: known.token for known in self.users}[user]

    def kubeconfig_for(self, user: str, through: str = "") -> Path:
        """A new kubeconfig file for that user, by way of a proxy's URL when there is one.

        Raises KeyError when the server does not know the user.
        """
        config = _kubeconfig(through or self.url, self.ca, user, self.token_for(user))
        with tempfile.NamedTemporaryFile("w", dir=self.workdir, prefix="kubeconfig-", delete=False) as file:
            json.dump(config, file)
        return Path(file.name)


@contextmanager
def bare_apiserver(workdir: Path, users: Sequence[User] = (ADMIN, OPERATOR)) -> Iterator[ApiServer]:
    """Run both processes with their state and logs in ``workdir`` until the block ends; ready in a few seconds.

    ADMIN must be among ``users``. Raises Failure with the end of the log when the server does not become ready.
    """
    kube, workdir = build.node_binary(), workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    etcd_port, peer_port, port = (free_port() for _ in range(3))
    # With a version it asks nobody on the Internet for the newest one.
    signing: Command = [kube, "kubeadm", "init", "phase", "certs", "sa", "--cert-dir", workdir]
    run([*signing, f"--kubernetes-version=v{build.KUBERNETES}"], doing="making the signing key")
    tokens = "".join(f'{u.token},{u.name},{u.name},"{",".join(u.groups)}"\n' for u in users)
    write_private(workdir / "tokens.csv", tokens)
    server = ApiServer(
        url=f"https://127.0.0.1:{port}",
        ca=workdir / "apiserver.crt",
        kubeconfig=workdir / "kubeconfig",
        audit_log=workdir / "audit.log",
        workdir=workdir,
        users=tuple(users),
    )
    admin = server.token_for(ADMIN.name)
    with ExitStack() as stack:
        etcd = _etcd(kube, workdir, etcd_port, peer_port)
        api = _kube_apiserver(kube, workdir, etcd_port, port)
        # Their state is thrown away with the folder: there is nothing to shut down cleanly.
        running = [stack.enter_context(beside(command, workdir / f"{command[1]}.log")) for command in (etcd, api)]
        wait_until(lambda: _ready(server, admin, running), timeout=START_TIMEOUT, what="kube-apiserver ready")
        write_private(server.kubeconfig, json.dumps(_kubeconfig(server.url, server.ca, ADMIN.name, admin)))
        yield replace(server, pid=running[1].pid)


def _etcd(kube: Path, workdir: Path, port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    return [
        *(str(kube), "etcd", f"--data-dir={workdir / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
        *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"),
        *(f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"),
    ]


def _kube_apiserver(kube: Path, workdir: Path, etcd_port: int, port: int) -> list[str]:
    return [
        *(str(kube), "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd_port}", f"--cert-dir={workdir}"),
        *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--secure-port={port}"),
        *("--service-cluster-ip-range=10.0.0.0/16", "--authorization-mode=RBAC", "--endpoint-reconciler-type=none"),
        *("--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={workdir}/sa.pub"),
        *(f"--service-account-signing-key-file={workdir}/sa.key", f"--token-auth-file={workdir}/tokens.csv"),
        # Nothing creates the ServiceAccount `default` here, and the plugin refuses pods without one.
        "--disable-admission-plugins=ServiceAccount",
        # Tests read the log right after a write, so it is written before the answer goes out.
        *(f"--audit-policy-file={AUDIT_POLICY}", f"--audit-log-path={workdir}/audit.log", "--audit-log-mode=blocking"),
    ]


def _ready(server: ApiServer, token: str, running: Sequence[subprocess.Popen[bytes]]) -> bool:
    for process, log in zip(running, ("etcd.log", "kube-apiserver.log"), strict=True):
        if process.poll() is not None:
            text = (server.workdir / log).read_text(errors="replace")
            raise Failure(f"{log.removesuffix('.log')} ended with code {process.returncode}:\n{tail(text)}")
    if not server.ca.exists():
        return False
    request = urllib.request.Request(f"{server.url}/readyz", headers={"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(
            request, timeout=5, context=ssl.create_default_context(cafile=str(server.ca))
        ) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _kubeconfig(url: str, ca: Path, user: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority": str(ca.absolute())}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    }
