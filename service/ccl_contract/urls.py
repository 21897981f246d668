"""URLs of servers: when one is beyond doubt, and which servers it means. The one judgement of service and operator.

What a library made of a doubtful URL would stand, in pieces of its password, in an error. No complaint here quotes any
of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

POSTGRES: Final = ("postgresql", "postgres")
REDIS: Final = ("redis", "rediss")
HTTP: Final = ("http", "https")

#: A host, or nothing, with or without a port.
_SERVER: Final = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:\[\]]*)(:(?P<port>[0-9]+))?")
_DSN: Final = re.compile(r"https?://[^\s:@/]+(:[^\s@/]*)?@[^\s@/]+(/\S*)?/[0-9]+")
_ENCODED: Final = "must have its user name and password percent-encoded"
_SERVERS: Final = "must name its server as host or host:port"
_ONCE: Final = "must name its server once: before the path, or as host and port behind it"


class UrlRefused(ValueError):
    """A URL that is in doubt; the text says what it must be."""


@dataclass(frozen=True)
class Server:
    """``host`` is empty or a folder where a socket of the same machine is meant; ``port`` is None for the usual one."""

    host: str
    port: int | None = None

    @property
    def local(self) -> bool:
        """Whether it can only be reached from its own machine."""
        return not self.host or self.host.startswith("/")


@dataclass(frozen=True)
class ServerUrl:
    """A URL in its parts, decoded. ``servers`` in the order in which they are tried, none where only the usual one of
    the machine is meant; ``path`` without its first slash; ``parameters``: the last word on each."""

    scheme: str
    servers: tuple[Server, ...] = ()
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)


def parse_url(text: str, *schemes: str, local: bool = False) -> ServerUrl:
    """Read a URL of one of these schemes. ``local``: it may mean a server of the same machine. Raises UrlRefused."""
    parts = _split(text)
    if parts is None and text.startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise UrlRefused(_ENCODED)
    if parts is None or parts.scheme not in schemes:
        raise UrlRefused(f"must be a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if parts.fragment or ("@" in parts.path + parts.query and "@" not in parts.netloc):
        raise UrlRefused(_ENCODED)
    account, _, authority = parts.netloc.rpartition("@")
    user, _, password = account.partition(":")
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    servers = _servers(authority, parameters if parts.scheme in POSTGRES else {})
    if not local and (not servers or any(server.local for server in servers)):
        raise UrlRefused(_SERVERS)
    path = unquote(parts.path.removeprefix("/"))
    return ServerUrl(parts.scheme, servers, unquote(user), unquote(password), path, parameters)


def parse_dsn(text: str) -> ServerUrl:
    """Read a DSN in Sentry's form. Raises UrlRefused."""
    try:
        if _DSN.fullmatch(text):
            return parse_url(text, *HTTP)
    except UrlRefused:
        pass
    raise UrlRefused("must be a DSN (https://key@host/project)")


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text)
    except ValueError:
        # its message quotes the host part, password included
        return None


def _servers(authority: str, parameters: Mapping[str, str]) -> tuple[Server, ...]:
    """Drivers differ in which of the two wins, so only one may be there."""
    elsewhere = {"host", "port"} & parameters.keys()
    if not authority:
        return _listed(parameters) if elsewhere else ()
    if elsewhere:
        raise UrlRefused(_ONCE)
    return tuple(_server(each) for each in authority.split(","))


def _listed(parameters: Mapping[str, str]) -> tuple[Server, ...]:
    """From ``host`` and ``port`` as libpq takes them: a port for each host, or one for all."""
    hosts, ports = parameters.get("host", "").split(","), parameters.get("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    if len(ports) != len(hosts):
        raise UrlRefused(_SERVERS)
    servers = [Server(host) if host.startswith("/") else _server(host) for host in hosts]
    return tuple(Server(each.host, _port(port) or each.port) for each, port in zip(servers, ports, strict=True))


def _server(text: str) -> Server:
    found = _SERVER.fullmatch(text)
    if found is None:
        raise UrlRefused(_SERVERS)
    return Server(unquote(found["host"]).removeprefix("[").removesuffix("]"), _port(found["port"] or ""))


def _port(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 0 < int(text) <= 65535:
        raise UrlRefused(_SERVERS)
    return int(text)
