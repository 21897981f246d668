"""Who may hold how many connections: each address, and all together what the process has file descriptors for.

When all places are taken a few spare ones are left. They are for probes, or a full process would be taken for a dead
one: whoever holds one of them and asks for something else is turned away, and whoever asks nothing gives it up to the
next.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from ccl_service.platform.problems import TooManyConnections
from ccl_service.platform.proxy import TrustProxy, limit_subject, parse_address
from ccl_service.platform.unread import UNREAD_SECONDS

#: How long a head may take: the first from the beginning of the connection, later ones from their own first byte.
HEADER_SECONDS: Final = 10.0
#: Connections beyond the places, for probes.
SPARE: Final = 16
#: The part of the places below which they count as free again, so that the log does not tell of every one.
FREE_AGAIN: Final = 0.9
NO_PROXY: Final = TrustProxy()

log = structlog.get_logger("ccl.server")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """What a connection holds. ``subject`` is None where no address is counted; a ``spare`` one is for probes only."""

    subject: str | None
    spare: bool
    give_up: Callable[[], None]


@dataclass(slots=True)
class Doorman:
    """Counts connections, and knows how long a head may take and an answer may lie unread.

    ``most_per_client``: 0 for no cap. Trusted proxies have none: they carry everybody. ``places`` holds for all
    together, proxies included; None for no cap.
    """

    header_seconds: float = HEADER_SECONDS
    most_per_client: int = 0
    trust: TrustProxy = NO_PROXY
    on_refused: Callable[[], None] = lambda: None
    unread_seconds: float = UNREAD_SECONDS
    on_unread: Callable[[], None] = lambda: None
    places: int | None = None
    on_full: Callable[[], None] = lambda: None
    open: int = 0
    _held: Counter[str] = field(default_factory=Counter)
    #: The spare places by which nothing has come yet, the one that was taken first first.
    _spare: dict[Place, None] = field(default_factory=dict)
    _told: bool = False

    def enter(self, peer: str | None, give_up: Callable[[], None]) -> Place:
        """Count a connection; what ``leave`` wants to have back. Raises TooManyConnections.

        ``give_up`` ends the connection when its spare place is wanted by another.
        """
        subject = self._counted(peer)
        spare = self.places is not None and self.open >= self.places
        place = Place(subject, spare, give_up)
        if spare:
            self._take_spare(place)
        if subject is not None:
            self._held[subject] += 1
        self.open += 1
        return place

    def heard(self, place: Place | None) -> None:
        """A probe came by a spare place: it is answered, whoever else wants the place."""
        if place is not None:
            self._spare.pop(place, None)

    def leave(self, place: Place | None) -> None:
        """A connection that was let in has ended."""
        if place is None:
            return
        self.open -= 1
        self._spare.pop(place, None)
        if self.places is not None and self.open < self.places * FREE_AGAIN:
            self._told = False
        if place.subject is not None:
            self._held[place.subject] -= 1
            if not self._held[place.subject]:
                del self._held[place.subject]

    def trusts(self, peer: object) -> bool:
        """Whether the peer, as a transport names it, is a proxy that may be believed."""
        address = parse_address(peer[0]) if isinstance(peer, tuple) else None
        return address is not None and self.trust.trusts(address)

    def _counted(self, peer: str | None) -> str | None:
        address = parse_address(peer)
        if not self.most_per_client or address is None or self.trust.trusts(address):
            return None
        subject = limit_subject(address)
        if self._held[subject] >= self.most_per_client:
            self.on_refused()
            raise TooManyConnections(f"{self.most_per_client} connections at once", delay=timedelta(seconds=1))
        return subject

    def _take_spare(self, place: Place) -> None:
        if not self._told:
            self._told = True
            log.error("no place for more connections", action="http:connections:full", places=self.places)
        if len(self._spare) >= SPARE:
            oldest = next(iter(self._spare))
            del self._spare[oldest]
            oldest.give_up()
            self.on_full()
        self._spare[place] = None
