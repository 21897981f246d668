"""Puts the whole system on a cluster: CRDs, operator, outside worlds, one CclDeployment.

Used by `make up` and by the end-to-end tests.
Every step is a server-side apply or `helm upgrade --install`, so that doing it again changes nothing.
"""

import json
import string
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hack.cluster import Cluster
from hack.run import Failure, wait_until

HERE: Final = Path(__file__).parent
CHARTS: Final = HERE.parent.parent / "charts"
SYSTEM_NAMESPACE: Final = "ccl-system"
#: The operator goes on by itself when database and Redis have come after all, their images pulled for instance.
SLOW_START: Final = "PreparingDeadlineExceeded"
IMAGES: Final = (
    "ccl-service",
    "ccl-operator",
    "ccl-backup-17",
    "ccl-fakes",
    "postgres-17",
    "valkey-8",
    "pgbouncer",
)


@dataclass(frozen=True)
class Kubectl:
    """kubectl on one cluster. Raises Failure with kubectl's own words when a command fails."""

    cluster: Cluster

    def __call__(self, *arguments: str, stdin: str | None = None, timeout: float = 300) -> str:
        """Run it and return what it printed."""
        done = self.attempt(*arguments, stdin=stdin, timeout=timeout)
        if done.returncode:
            raise Failure(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def attempt(
        self, *arguments: str, stdin: str | None = None, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run it and return the finished process, whatever its exit code."""
        command = [str(self.cluster.kubectl), "--kubeconfig", str(self.cluster.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, text=True, capture_output=True, check=False, timeout=timeout)

    def get(self, namespace: str, *what: str) -> dict[str, Any]:
        """One object (or a list) as JSON."""
        found: dict[str, Any] = json.loads(self("get", *what, "-n", namespace, "-o", "json"))
        return found

    def apply(self, manifests: str) -> None:
        """Server-side apply under a field manager of its own."""
        self("apply", "--server-side", "--force-conflicts", "--field-manager=ccl-demo", "-f", "-", stdin=manifests)


def render(template: str, /, **values: str) -> str:
    """A manifest of this folder with its ${...} filled in."""
    return string.Template((HERE / template).read_text()).substitute(values)


def install_operator(cluster: Cluster, images: Mapping[str, str]) -> None:
    """Both charts with Helm, waiting until the operator is ready."""
    helm(cluster, "ccl-crds", "ccl-crds", ())
    repository, _, tag = images["ccl-operator"].rpartition(":")
    values = (
        f"image.repository={repository}",
        f"image.tag={tag}",
        f"images.postgres.17={images['postgres-17']}",
        f"images.backup.17={images['ccl-backup-17']}",
        f"images.redis={images['valkey-8']}",
        f"images.pgbouncer={images['pgbouncer']}",
    )
    try:
        helm(cluster, "ccl-operator", "ccl-operator", values)
    except Failure as failure:
        logs = Kubectl(cluster).attempt("logs", "-n", SYSTEM_NAMESPACE, "deploy/ccl-operator", "--tail=15")
        raise Failure(f"{failure}\n{logs.stdout or logs.stderr}") from failure


def helm(cluster: Cluster, release: str, chart: str, values: Sequence[str]) -> None:
    """`helm upgrade --install --wait` with string values."""
    command = [
        *(str(cluster.helm), "upgrade", "--install", release, str(CHARTS / chart)),
        *("--namespace", SYSTEM_NAMESPACE, "--create-namespace", "--wait", "--timeout", "2m"),
        *("--kubeconfig", str(cluster.kubeconfig)),
    ]
    for value in values:
        command += ["--set-string", value]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"helm could not install {release}: {done.stderr.strip()}")


def install_demo(kubectl: Kubectl, images: Mapping[str, str], *, namespace: str, name: str = "ccl") -> None:
    """The fakes and the CclDeployment; returns at once."""
    values = {"namespace": namespace, "name": name}
    gave_up = is_stalled(kubectl, namespace, name)
    kubectl.apply(render("outside.yaml", fakes=images["ccl-fakes"], **values))
    kubectl.apply(render("ccl.yaml", image=images["ccl-service"], **values))
    if gave_up:
        # What was aborted is tried again when the specification changes. Which field does not matter; this one is
        # no part of the revision.
        kubectl(
            "patch", "ccl", name, "-n", namespace, "--type=merge", "-p", '{"spec": {"promotion": {"deadline": "6m"}}}'
        )


def is_stalled(kubectl: Kubectl, namespace: str, name: str) -> bool:
    """Whether the object is there and has given up."""
    done = kubectl.attempt("get", "ccl", name, "-n", namespace, "-o", "json")
    return done.returncode == 0 and condition(json.loads(done.stdout), "Stalled").get("status") == "True"


def condition(ccl: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition of an object, empty when it is not there or speaks of an older generation."""
    for found in ccl.get("status", {}).get("conditions", []):
        if found["type"] == kind and found.get("observedGeneration") == ccl["metadata"]["generation"]:
            return dict(found)
    return {}


def wait_promoted(
    kubectl: Kubectl,
    *,
    namespace: str,
    name: str = "ccl",
    timeout: float = 420,
    every: float = 1,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Wait until the object is Ready and Promoted, telling each change of phase.

    Raises Failure when it is Stalled for good or the time is over, with the object's own message.
    """
    deadline, last = time.monotonic() + timeout, ""
    fix = f"`kubectl describe ccl {name} -n {namespace}` says more; run the command again to try again"
    while time.monotonic() < deadline:
        ccl = kubectl.get(namespace, "ccl", name)
        status = ccl.get("status", {})
        now = f"{status.get('phase', 'Pending')}: {status.get('message', '')}".rstrip(": ")
        if now != last:
            say(now)
            last = now
        if all(condition(ccl, kind).get("status") == "True" for kind in ("Ready", "Promoted")):
            return ccl
        stalled = condition(ccl, "Stalled")
        if stalled.get("status") == "True" and stalled["reason"] != SLOW_START:
            raise Failure(f"{namespace}/{name} is stalled ({stalled['reason']}): {stalled['message']}", fix=fix)
        time.sleep(every)
    raise Failure(f"{namespace}/{name} was not promoted within {timeout:.0f} s ({last})", fix=fix)


def run_in_cluster(
    kubectl: Kubectl, images: Mapping[str, str], *, namespace: str, job: str, command: Sequence[str], name: str = "ccl"
) -> str:
    """Run a demo program as a Job and return what it printed. Raises Failure with its output when it fails."""
    kubectl.apply(
        render(
            "job.yaml",
            job=job,
            namespace=namespace,
            name=name,
            fakes=images["ccl-fakes"],
            command=json.dumps(list(command)),
        )
    )
    status: dict[str, Any] = {}

    def ended() -> bool:
        status.update(kubectl.get(namespace, "job", job).get("status", {}))
        return bool(status.get("succeeded") or status.get("failed"))

    wait_until(ended, timeout=300, every=0.5, what=f"the end of {job}")
    output = kubectl("logs", "-n", namespace, f"job/{job}")
    if status.get("failed"):
        raise Failure(f"{job} failed:\n{output}")
    return output
