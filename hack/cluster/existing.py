"""The cluster of the current kubeconfig context, used only when CCL_CLUSTER=existing asks for it; never taken down."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster import build, memory
from hack.cluster.provider import Cluster, answers, kubeconfig_file
from hack.files import write_private
from hack.run import Failure, run

LEFT: Final = """\
  - the existing cluster keeps what was installed; to remove that as well, with its context as the current one:
      kubectl delete namespace loans
      helm uninstall ccl-operator ccl-crds -n ccl-system    # ends every CclDeployment of the cluster"""


@dataclass(frozen=True)
class Existing:
    """Somebody else's cluster."""

    def prepare(self) -> None:
        """The programs that talk to it."""
        build.kubectl_alone()
        build.helm_alone()

    def up(self) -> Cluster:
        """Ask, then hand out the current context. Raises Failure when it is refused or does not answer."""
        kubectl = build.kubectl_alone()
        context = run([kubectl, "config", "current-context"], doing="reading the current kubeconfig context").strip()
        if os.environ.get("CCL_YES") != "1" and not _agreed(context):
            raise Failure(f"the context {context} was not confirmed", fix="answer y, or set CCL_YES=1")
        memory.remember("existing")
        # A flattened copy of this one context: later changes of ~/.kube/config cannot send us elsewhere.
        kubeconfig = kubeconfig_file()
        write_private(kubeconfig, run([kubectl, "config", "view", "--minify", "--flatten", "--raw"]))
        run([kubectl, "--kubeconfig", kubeconfig, "get", "--raw", "/readyz"], timeout=30, doing=f"asking {context}")
        return _cluster(kubeconfig)

    def down(self) -> None:
        """Only our copy of the way to it: what a cluster of somebody else's holds is not ours to delete unasked."""
        kubeconfig = kubeconfig_file()
        if kubeconfig.exists():
            kubeconfig.unlink()
            print(LEFT, flush=True)

    def current(self) -> Cluster | None:
        """The cluster that an earlier `up` confirmed, when it answers."""
        kubeconfig = kubeconfig_file()
        if not kubeconfig.exists():
            return None
        return _cluster(kubeconfig) if answers(build.kubectl_alone(), kubeconfig) else None

    def loaded(self, references: Sequence[str]) -> frozenset[str]:
        """What its nodes say they have; a node lists only its largest images, so an absent one may be there."""
        listing = run([build.kubectl_alone(), "--kubeconfig", kubeconfig_file(), "get", "nodes", "-o", "json"])
        there = {
            name
            for node in json.loads(listing)["items"]
            for image in node["status"].get("images", [])
            for name in image["names"]
        }
        return frozenset(there.intersection(references))

    def load(self, archives: Sequence[Path]) -> None:
        """Refused: nodes that are not ours take images from a registry only."""
        raise Failure(
            f"{len(archives)} images cannot be copied into a cluster that is not ours",
            fix="set CCL_REGISTRY to a registry that its nodes can pull from",
        )


def _cluster(kubeconfig: Path) -> Cluster:
    return Cluster(
        provider="existing",
        kubeconfig=kubeconfig,
        kubectl=build.kubectl_alone(),
        helm=build.helm_alone(),
        audit_log=None,
        enforces_network_policy=False,
    )


def _agreed(context: str) -> bool:
    if not sys.stdin.isatty():
        return False
    place = os.environ.get("KUBECONFIG", "~/.kube/config")
    answer = input(f"Install into the existing cluster of context {context!r} ({place})? [y/N] ")
    return answer.strip().lower() == "y"
