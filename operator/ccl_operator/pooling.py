"""Whether the database has enough connections for all the pods that may exist at once. Pure arithmetic.

At the height of a promotion two revisions run side by side at their full number, each pod with the pool of its own
revision. What runs beyond these two is on its way out; a new candidate waits for it when the two leave no room.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.manifests.pooler import SURGE

#: Beside its pool each service pod keeps one connection that only asks whether the database answers.
PROBE: Final = 1
#: Migration, backup with its snapshot, and people: connections past any pool.
DIRECT: Final = 5
#: superuser_reserved_connections, which nobody else gets (postgresql.org, "Connections and Authentication").
RESERVED: Final = 3


@dataclass(frozen=True)
class Demand:
    """Connections at the database: ``parts`` says in words how ``total`` comes about, ``remedy`` what makes it less."""

    total: int
    parts: str
    remedy: str


def demand(pools: Sequence[int], *, pods: int, pooler: Pooler | None) -> Demand:
    """The most connections that can be open at the server.

    ``pools``: the pool size of each revision whose pods connect themselves, at most ``pods`` of each. ``pooler``: what
    stands between the server and the others; None when no revision goes through it.
    """
    counts = [(number * pods, "pods during a promotion", size + PROBE) for size, number in Counter(pools).items()]
    if pooler is not None:
        counts.append((pooler.replicas + SURGE, "poolers while they are replaced", pooler.pool_size))
    smaller = [
        *(["database.pool.size"] if pools else []),
        *(["database.pooler.poolSize"] if pooler else []),
        "replicas",
    ]
    return Demand(
        total=sum(count * each for count, _, each in counts) + DIRECT + RESERVED,
        parts=", ".join(
            [*(f"{count} {what} x {each}" for count, what, each in counts), f"{DIRECT} direct, {RESERVED} reserved"]
        ),
        remedy=f"lower {' or '.join(smaller)}{'' if pooler else ', enable database.pooler'}, or raise max_connections",
    )


def shortfall(asked: Demand, *, max_connections: int) -> str:
    """Why the pools do not fit the server, and what to change; empty when they do."""
    if asked.total <= max_connections:
        return ""
    return (
        f"database: {asked.total} connections may be needed ({asked.parts}) and the server allows {max_connections}; "
        f"{asked.remedy}"
    )
