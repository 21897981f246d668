"""File descriptors: as many as the system allows, and how many of them connections may take.

A process without a free descriptor can neither accept a connection nor reach its database, read a key file or answer
a probe: what it needs for itself is kept out of callers' reach.
"""

import resource
from typing import Final

import structlog

from ccl_service.platform.doorman import SPARE

#: More connections than one process could serve; some containers allow a thousand million.
MOST: Final = 65_536
#: Besides the pools: standard streams, the event loop, the listener, the database probe, Redis, connections to
#: providers, files that are read now and then, and connections that are accepted only to be refused.
OWN: Final = 96
#: Below this there is no use in serving at all.
FEWEST: Final = 16

log = structlog.get_logger("ccl.server")


def raise_limit(most: int = MOST) -> int:
    """Raise the soft limit to the hard one, or to ``most``; how many descriptors this process may have now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most if hard == resource.RLIM_INFINITY else min(hard, most)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as exc:
        log.warning("limit of descriptors not raised", action="lifecycle:descriptors:kept", soft=soft, exc_info=exc)
        return soft
    return wanted


def connection_places(limit: int, *, pooled: int) -> int:
    """How many connections fit below ``limit`` beside ``pooled`` connections to databases and the spare places."""
    return max(FEWEST, limit - pooled - OWN - SPARE)
