"""A Kubernetes cluster for development and end-to-end tests: existing, kind or native, behind the same verbs.

Users call `up`, `down` and `current`; which way is taken is decided in choice.py and said on stdout.
"""

from pathlib import Path

from hack.cluster.choice import choose
from hack.cluster.provider import Cluster
from hack.run import Failure

__all__ = ["Cluster", "audit_log", "current", "down", "up"]


def up(*, yes: bool = False) -> Cluster:
    """Get a cluster: reuse the healthy one, else make it. ``yes`` answers the question of CCL_CLUSTER=existing.

    Raises Failure, with the fix, when none can be had.
    """
    return choose(yes=yes).up()


def down() -> None:
    """Remove what `up` made; nothing to do is no error. Only the cache folder stays."""
    choose(yes=True).down()


def current() -> Cluster | None:
    """The healthy cluster that is there, else None; makes nothing."""
    return choose(yes=True).current()


def audit_log() -> Path:
    """The API server's log of all writes and their users, a JSON event a line. Raises Failure where there is none."""
    cluster = current()
    if cluster is None or cluster.audit_log is None:
        raise Failure("there is no cluster with an audit log", fix="make up")
    return cluster.audit_log
