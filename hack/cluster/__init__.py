"""A Kubernetes cluster for development and end-to-end tests: existing, kind or native, behind the same verbs.

Users call `up`, `down` and `current`; which way is taken is decided in choice.py and said on stdout. The way that was
taken is remembered until `down`, so that no later command looks for the cluster in another place.
"""

from hack.cluster import choice, memory
from hack.cluster.provider import Cluster
from hack.run import Failure, run

__all__ = ["Cluster", "audit_log", "current", "down", "up"]


def up() -> Cluster:
    """Get a cluster: reuse the healthy one, else make it. Raises Failure, with the fix, when none can be had."""
    return choice.provider(choice.choose().way).up()


def down() -> None:
    """Remove what `up` made; nothing to do is no error. Only the cache folder stays."""
    choice.provider(choice.present()).down()
    memory.forget()


def current() -> Cluster | None:
    """The healthy cluster that is there, else None; makes nothing."""
    return choice.provider(choice.present()).current()


def audit_log(cluster: Cluster) -> str:
    """All writes so far and their users, a JSON event a line. Raises Failure where the API server is not ours."""
    if cluster.audit_log is None:
        raise Failure("an existing cluster's audit log cannot be read")
    return run(cluster.audit_log, doing="reading the audit log")
