"""What the end-to-end tests see of the system: kubectl, the objects, traffic, the audit log."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from hack.cluster import Cluster, audit_log
from hack.cluster.audit import changes, words
from hack.demo.install import Kubectl, condition, render, run_in_cluster, wait_promoted

NAMESPACE, NAME = "e2e", "ccl"
OPERATOR = "system:serviceaccount:ccl-system:ccl-operator"
Found = TypeVar("Found")


def until(what: str, probe: Callable[[], Found | None], timeout: float = 120) -> Found:
    """The first truthy answer of ``probe``. Fails the test when none comes in time."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if found := probe():
            return found
        time.sleep(0.5)
    pytest.fail(f"waited {timeout:.0f} s in vain for: {what}")


@dataclass(frozen=True)
class System:
    """A cluster with the operator on it."""

    cluster: Cluster
    kubectl: Kubectl
    images: Mapping[str, str]
    ours: bool
    """Whether these tests brought the cluster up, and so may break it."""

    def operator_writes(self, namespace: str) -> list[str]:
        """All changes by the operator in a namespace that the audit log holds so far, as ``patch services/ccl``."""
        events = changes(audit_log(self.cluster).encode().splitlines(), OPERATOR)
        return [words(event) for event in events if event["objectRef"].get("namespace") == namespace]


@dataclass(frozen=True)
class Deployed:
    """One CclDeployment on a system."""

    system: System
    namespace: str
    name: str

    def get(self) -> dict[str, Any]:
        """The object now."""
        return self.system.kubectl.get(self.namespace, "ccl", self.name)

    def list(self, kind: str, **labels: str) -> list[dict[str, Any]]:
        """Objects of a kind by their labels."""
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self.system.kubectl.get(self.namespace, kind, "-l", selector) if selector else None
        return list((found or self.system.kubectl.get(self.namespace, kind))["items"])

    def patch(self, spec: Mapping[str, Any]) -> int:
        """Merge into the spec; returns the new generation."""
        merge = json.dumps({"spec": spec})
        self.system.kubectl("patch", "ccl", self.name, "-n", self.namespace, "--type=merge", "-p", merge)
        return int(self.get()["metadata"]["generation"])

    def restore(self) -> None:
        """Back to the demo's spec, promoted."""
        self.system.kubectl("replace", "-f", "-", stdin=self.manifest())
        wait_promoted(self.system.kubectl, namespace=self.namespace, name=self.name, say=print)

    def psql(self, sql: str) -> str:
        """What psql prints for some SQL in the embedded database: no header, ``|`` between columns."""
        shell = 'psql -qAt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"'
        where = ("-i", f"{self.name}-postgres-0", "-n", self.namespace)
        return self.system.kubectl("exec", *where, "--", "sh", "-c", shell, stdin=sql)

    def manifest(self) -> str:
        """The object as the demo describes it."""
        return render("ccl.yaml", image=self.system.images["ccl-service"], namespace=self.namespace, name=self.name)

    def wait_condition(self, kind: str, status: str, timeout: float = 180) -> Mapping[str, Any]:
        """A condition of the current generation with that status."""

        def probe() -> Mapping[str, Any] | None:
            found = condition(self.get(), kind)
            return found if found.get("status") == status else None

        return until(f"{kind}={status}", probe, timeout)

    def program(self, job: str, *command: str) -> str:
        """Run a demo program in the cluster and return what it printed."""
        system = self.system
        return run_in_cluster(
            system.kubectl,
            system.images,
            namespace=self.namespace,
            job=f"{job}-{time.time_ns() % 10**9}",
            command=command,
            name=self.name,
        )

    @contextmanager
    def traffic(self, rate: int = 20) -> Iterator["Traffic"]:
        """Steady requests through the Service while the block runs; they end with it. ``rate``: turns a second, of one
        list of leads and one question for the revision each."""
        pod = f"traffic-{time.time_ns() % 10**9}"
        url = f"http://{self.name}.{self.namespace}"
        command = ["python", "-m", "hack.demo.traffic", "--url", url, "--rate", str(rate)]
        command += ["--key-file", "/run/ccl/keys/internal-api.json"]
        traffic = Traffic(self, pod)
        self.system.kubectl.apply(traffic_pod(self, pod, command))
        try:
            until("the first answers", lambda: traffic.totals().get("revisions"), 60)
            yield traffic
        finally:
            self.system.kubectl("delete", "pod", pod, "-n", self.namespace, "--now", "--wait=false")


@dataclass(frozen=True)
class Traffic:
    """A pod that sends requests."""

    ccl: Deployed
    pod: str

    def totals(self) -> dict[str, Any]:
        """Counts so far; empty before the first line."""
        done = self.ccl.system.kubectl.attempt("logs", self.pod, "-n", self.ccl.namespace, "--tail=1")
        line = done.stdout.strip()
        return dict(json.loads(line)) if done.returncode == 0 and line.startswith("{") else {}

    def settled(self, more: int = 50) -> dict[str, Any]:
        """Totals after at least ``more`` further requests."""
        seen = self.totals()["sent"]
        return until("more requests", lambda: (t := self.totals()) and t["sent"] >= seen + more and t)


def traffic_pod(ccl: Deployed, pod: str, command: Sequence[str]) -> str:
    """The pod of ``Traffic`` as JSON."""
    container = {
        "name": "traffic",
        "image": ccl.system.images["ccl-fakes"],
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
        "volumeMounts": [{"name": "keys", "mountPath": "/run/ccl/keys", "readOnly": True}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "keys", "secret": {"secretName": f"{ccl.name}-keys", "defaultMode": 0o440}}],
    }
    return json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod, "namespace": ccl.namespace}, "spec": spec}
    )
