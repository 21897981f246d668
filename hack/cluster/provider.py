"""What the three ways to a cluster have in common: the verbs, and the handle that their users get.

The ways themselves are native/, kind.py and existing.py; choice.py picks one.
"""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hack.cluster import cache
from hack.run import Command


@dataclass(frozen=True)
class Cluster:
    """A running cluster, as its users see it."""

    provider: str
    """`native`, `kind` or `existing`."""
    kubeconfig: Path
    kubectl: Path
    helm: Path
    audit_log: tuple[str, ...] | None
    """The command that prints the API server's log of writes; None where we do not run the API server."""
    enforces_network_policy: bool


def kubeconfig_file() -> Path:
    """Where every way leaves the way into its cluster."""
    return cache.folder() / "kubeconfig"


def answers(kubectl: Path, kubeconfig: Path) -> bool:
    """Whether the API server says, within ten seconds, that it is ready."""
    command: Command = [kubectl, "--kubeconfig", kubeconfig, "--request-timeout=10s", "get", "--raw", "/readyz"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Provider(Protocol):
    """One way to get a cluster. Every verb raises Failure with one line and the fix."""

    def prepare(self) -> None:
        """Make what `up` will need and what can be made without a cluster. May run beside `up`."""

    def up(self) -> Cluster:
        """Make the cluster, or reuse the healthy one that is there; a broken one is taken down and made again."""

    def down(self) -> None:
        """Remove what `up` made; nothing to do is no error."""

    def current(self) -> Cluster | None:
        """The healthy cluster that is there, else None. Changes nothing."""

    def loaded(self, references: Sequence[str]) -> frozenset[str]:
        """Those of the image references that the cluster has."""

    def load(self, archives: Sequence[Path]) -> None:
        """Bring images into the cluster from OCI archives, each of which carries its full reference."""
