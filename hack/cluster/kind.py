"""A kind cluster, where Docker answers. The node image is the one that the pinned kind version pins."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster import build, cache
from hack.cluster.provider import Cluster
from hack.run import Command, progress, run

CLUSTER: Final = "ccl"
POLICY: Final = Path(__file__).parent / "native" / "files" / "audit.yaml"
#: One node; the API server writes the same audit log as on the native node, into a folder of the host.
CONFIG: Final = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  extraMounts:
  - {{hostPath: "{state}/audit", containerPath: /etc/ccl-audit, readOnly: true}}
  - {{hostPath: "{state}/audit-log", containerPath: /var/log/ccl-audit}}
  kubeadmConfigPatches:
  - |
    kind: ClusterConfiguration
    apiServer:
      extraArgs: {{audit-policy-file: /etc/ccl-audit/policy.yaml, audit-log-path: /var/log/ccl-audit/audit.log}}
      extraVolumes:
      - {{name: audit-policy, hostPath: /etc/ccl-audit, mountPath: /etc/ccl-audit, readOnly: true, pathType: Directory}}
      - {{name: audit-log, hostPath: /var/log/ccl-audit, mountPath: /var/log/ccl-audit, pathType: DirectoryOrCreate}}
"""


@dataclass(frozen=True)
class Kind:
    """kind behind the verbs of provider.py."""

    def up(self) -> Cluster:
        """Reuse the healthy cluster, else delete what is there and create it."""
        with cache.lock("cluster"):
            if healthy := self.current():
                return healthy
            kind, state = _kind(), _state()
            run([kind, "delete", "cluster", "--name", CLUSTER], env=_env())
            shutil.rmtree(state, ignore_errors=True)
            (state / "audit").mkdir(parents=True)
            (state / "audit-log").mkdir()
            shutil.copy(POLICY, state / "audit" / "policy.yaml")
            with progress("creating the kind cluster", usually="1 min, plus the node image the first time"):
                create: Command = [
                    kind,
                    "create",
                    "cluster",
                    "--name",
                    CLUSTER,
                    "--config",
                    "-",
                    "--wait",
                    "180s",
                ]
                run(create, env=_env(), stdin=CONFIG.format(state=state), log=cache.folder() / "kind.log")
        return _cluster()

    def down(self) -> None:
        """Delete the cluster."""
        with cache.lock("cluster"):
            run([_kind(), "delete", "cluster", "--name", CLUSTER], env=_env())
            shutil.rmtree(_state(), ignore_errors=True)
            _kubeconfig().unlink(missing_ok=True)

    def current(self) -> Cluster | None:
        """The cluster, when its API server is ready."""
        if not _kubeconfig().exists():
            return None
        ask: Command = [build.kubectl_alone(), "--kubeconfig", _kubeconfig(), "get", "--raw", "/readyz"]
        done = subprocess.run(ask, capture_output=True, check=False, timeout=30)
        return None if done.returncode else _cluster()

    def loaded(self, references: Sequence[str]) -> frozenset[str]:
        """Those that the node's container runtime lists."""
        node = f"{CLUSTER}-control-plane"
        listing = run(["docker", "exec", node, "ctr", "-n", "k8s.io", "images", "ls", "-q"])
        return frozenset(set(references).intersection(listing.split()))

    def load(self, archives: Sequence[Path]) -> None:
        """Copy the archives into the node."""
        for archive in archives:
            run([_kind(), "load", "image-archive", "--name", CLUSTER, archive], env=_env())


def _env() -> dict[str, str]:
    return {"KUBECONFIG": str(_kubeconfig())}


def _kubeconfig() -> Path:
    return cache.folder() / "kubeconfig"


def _state() -> Path:
    return cache.folder() / "kind-state"


def _kind() -> Path:
    found = shutil.which("kind")
    return Path(found) if found else build.kind_binary()


def _cluster() -> Cluster:
    return Cluster(
        provider="kind",
        kubeconfig=_kubeconfig(),
        kubectl=build.kubectl_alone(),
        helm=Path(shutil.which("helm") or build.helm_binary()),
        audit_log=_state() / "audit-log" / "audit.log",
        enforces_network_policy=True,
    )
