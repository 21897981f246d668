"""Who is calling: the client's address behind trusted proxies.

A forwarded header is believed only when the socket's peer is trusted, and only as far as the trust reaches.
"""

import ipaddress
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: Where a load balancer of one's own may be: RFC 1918, 4193, 6598, 3927, loopback. Python's ``is_private`` means more.
_INSIDE: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "127.0.0.0/8",
        "fc00::/7",
        "fe80::/10",
        "::1/128",
    )
)
_UNKNOWN: Final = ipaddress.IPv4Address("0.0.0.0")  # noqa: S104 - stands for "no address", nothing is bound to it


@dataclass(frozen=True, slots=True)
class TrustProxy:
    """Trusted networks, or a number of proxies in front. Both empty: forwarded headers are ignored."""

    hops: int = 0
    networks: tuple[Network, ...] = ()

    def trusts(self, peer: Address) -> bool:
        """Whether headers from this socket peer count. A hop count believes private addresses only."""
        if self.networks:
            return any(peer in network for network in self.networks)
        return self.hops > 0 and any(peer in network for network in _INSIDE)


NOBODY: Final = TrustProxy()


def parse_trust(text: str) -> TrustProxy:
    """``false``, ``true`` (one hop), a hop count, or a comma list of CIDRs. Raises ValueError."""
    word = text.strip().lower()
    if word in {"false", "0", ""}:
        return TrustProxy()
    if word == "true":
        return TrustProxy(hops=1)
    if word.isdigit():
        return TrustProxy(hops=int(word))
    return TrustProxy(networks=tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip()))


@lru_cache(maxsize=4096)  # every request asks, mostly of the same few
def parse_address(text: str | None) -> Address | None:
    """An address as it stands in a header or a socket name (port and brackets allowed), or None."""
    if not text:
        return None
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        address = ipaddress.ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, ipaddress.IPv6Address) else address


def client_address(peer: str | None, forwarded_for: Sequence[str], trust: TrustProxy) -> Address:
    """The client's address. ``forwarded_for`` are the X-Forwarded-For header lines in order.

    With too few entries, or one that is no address, the socket's peer counts.
    """
    socket_peer = parse_address(peer)
    if socket_peer is None:
        return _UNKNOWN
    if not trust.trusts(socket_peer):
        return socket_peer
    entries = _from_the_right(forwarded_for)
    if trust.networks:
        return _first_untrusted(socket_peer, entries, trust)
    return parse_address(next(islice(entries, trust.hops - 1, None), None)) or socket_peer


def _from_the_right(lines: Sequence[str]) -> Iterator[str]:
    """The entries, last first. Each is cut off when it is asked for: a stranger may have written thousands."""
    for line in reversed(lines):
        end = len(line)
        while end >= 0:
            comma = line.rfind(",", 0, end)
            yield line[comma + 1 : end]
            end = comma


def _first_untrusted(peer: Address, entries: Iterator[str], trust: TrustProxy) -> Address:
    last = peer
    for text in entries:
        entry = parse_address(text)
        if entry is None:
            return peer
        last = entry
        if not trust.trusts(entry):
            break
    return last


def client_subject(peer: str | None, forwarded_for: Sequence[str], trust: TrustProxy) -> str:
    """``limit_subject`` of the client's address."""
    if forwarded_for and trust != NOBODY:
        return limit_subject(client_address(peer, forwarded_for, trust))
    return _peer_subject(peer)


@lru_cache(maxsize=4096)
def _peer_subject(peer: str | None) -> str:
    """Remembered: the same peers come again and again. What headers say is not: it may be long, and always new."""
    return limit_subject(client_address(peer, (), NOBODY))


def limit_subject(address: Address) -> str:
    """What counts as one client: an IPv4 address, or an IPv6 /64 (one subscriber's smallest usual share)."""
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
