"""A kind cluster, where Docker answers. The node image is the one that the pinned kind version pins."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster import build, cache, memory
from hack.cluster.provider import Cluster, answers, kubeconfig_file
from hack.run import Command, progress, require_space, run

CLUSTER: Final = "ccl"
POLICY: Final = Path(__file__).parent / "native" / "files" / "audit.yaml"
NODE: Final = f"{CLUSTER}-control-plane"
#: One node; the API server writes the same audit log as on the native node.
CONFIG: Final = """\
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: control-plane
  extraMounts:
  - {{hostPath: "{state}/audit", containerPath: /etc/ccl-audit, readOnly: true}}
  kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    syncFrequency: 10s
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

    def prepare(self) -> None:
        """kind, and the programs that talk to the cluster."""
        _kind()
        build.kubectl_alone()
        build.helm_alone()

    def up(self) -> Cluster:
        """Reuse the healthy cluster, else delete what is there and create it."""
        with cache.lock("cluster"):
            if healthy := self.current():
                return healthy
            kind, state = _kind(), _state()
            require_space(cache.folder(), cache.MIN_FREE_BYTES)
            memory.remember("kind")
            run([kind, "delete", "cluster", "--name", CLUSTER], env=_env())
            shutil.rmtree(state, ignore_errors=True)
            (state / "audit").mkdir(parents=True)
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
            kubeconfig_file().unlink(missing_ok=True)

    def current(self) -> Cluster | None:
        """The cluster, when its API server is ready."""
        if not kubeconfig_file().exists():
            return None
        return _cluster() if answers(build.kubectl_alone(), kubeconfig_file()) else None

    def loaded(self, references: Sequence[str]) -> frozenset[str]:
        """Those that the node's container runtime lists."""
        listing = run(["docker", "exec", NODE, "ctr", "-n", "k8s.io", "images", "ls", "-q"])
        return frozenset(set(references).intersection(listing.split()))

    def load(self, archives: Sequence[Path]) -> None:
        """Copy the archives into the node."""
        for archive in archives:
            run([_kind(), "load", "image-archive", "--name", CLUSTER, archive], env=_env())


def _env() -> dict[str, str]:
    return {"KUBECONFIG": str(kubeconfig_file())}


def _state() -> Path:
    return cache.folder() / "kind-state"


def _kind() -> Path:
    found = shutil.which("kind")
    return Path(found) if found else build.kind_binary()


def _cluster() -> Cluster:
    return Cluster(
        provider="kind",
        kubeconfig=kubeconfig_file(),
        kubectl=build.kubectl_alone(),
        helm=build.helm_alone(),
        # In the node, where a container wrote it as root.
        audit_log=("docker", "exec", NODE, "cat", "/var/log/ccl-audit/audit.log"),
        enforces_network_policy=True,
    )
