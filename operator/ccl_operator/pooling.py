"""Whether the database has enough connections for all the pods that may exist at once. Pure arithmetic.

At the height of a promotion two revisions run side by side at their full number, and the jobs pods of each.
"""

from dataclasses import dataclass
from typing import Final

from ccl_operator.api.v1alpha1 import Spec

#: Revisions that hold connections at once: the stable one and the candidate.
REVISIONS: Final = 2
#: Beside its pool each service pod keeps one connection that only asks whether the database answers.
PROBE: Final = 1
#: Migration, backup with its snapshot, and people: connections past any pool.
DIRECT: Final = 5
#: superuser_reserved_connections, which nobody else gets (postgresql.org, "Connections and Authentication").
RESERVED: Final = 3


@dataclass(frozen=True)
class Demand:
    """Connections at the database: ``parts`` says in words how ``total`` comes about."""

    total: int
    parts: str


def demand(spec: Spec, *, web_pods: int) -> Demand:
    """The most connections that can be open at the server. ``web_pods``: the most of one revision."""
    pooler = spec.database.pooled
    if pooler is not None:
        servers = pooler.replicas * pooler.pool_size
        total = servers + DIRECT + RESERVED
        parts = f"{pooler.replicas} poolers x {pooler.pool_size}, {DIRECT} direct, {RESERVED} reserved"
        return Demand(total, parts)
    each = spec.database.pool.size + PROBE
    count = REVISIONS * (web_pods + spec.jobs.replicas)
    total = count * each + DIRECT + RESERVED
    return Demand(total, f"{count} pods during a promotion x {each}, {DIRECT} direct, {RESERVED} reserved")


def shortfall(spec: Spec, *, web_pods: int, max_connections: int) -> str:
    """Why the pools do not fit the server, and what to change; empty when they do."""
    asked = demand(spec, web_pods=web_pods)
    if asked.total <= max_connections:
        return ""
    pooled = spec.database.pooled is not None
    smaller = "database.pooler.poolSize or replicas" if pooled else "database.pool.size or replicas"
    other = "" if pooled else ", enable database.pooler"
    return (
        f"database: {asked.total} connections may be needed ({asked.parts}) and the server allows {max_connections}; "
        f"lower {smaller}{other}, or raise max_connections"
    )
