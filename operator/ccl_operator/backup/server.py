"""The database server as the runner reaches it: a URL taken apart so that its password is never on a command line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from ccl_operator.backup.failure import StepFailed

#: Parameters that libpq knows and asyncpg would send to the server as settings (PostgreSQL 17, 34.1.2).
_LIBPQ_ONLY: Final = frozenset(
    {
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "options",
        "require_auth",
        "requirepeer",
        "sslcertmode",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
    }
)
#: What a child process must not inherit: it gets the one password it needs, by ``PGPASSWORD``.
_PRIVATE: Final = frozenset({"DATABASE_URL", "DATABASE_DIRECT_URL", "PGPASSWORD", "PGSERVICE", "PGSERVICEFILE"})
_CONNECT_SECONDS: Final = 30


@dataclass(frozen=True)
class Server:
    """A database of a server. ``url`` holds no password."""

    url: str
    password: str | None = field(default=None, repr=False)

    @property
    def asyncpg_url(self) -> str:
        """``url`` without the parameters that only libpq knows."""
        parts = urlsplit(self.url)
        query = [(name, value) for name, value in parse_qsl(parts.query) if name not in _LIBPQ_ONLY]
        return urlunsplit(parts._replace(query=urlencode(query)))

    def client_environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The environment of a libpq program that connects to ``url``."""
        environment = without_secrets(inherited) | {"PGAPPNAME": "ccl-backup"}
        environment.setdefault("PGCONNECT_TIMEOUT", str(_CONNECT_SECONDS))
        if self.password is not None:
            environment["PGPASSWORD"] = self.password
        return environment

    def redact(self, text: str) -> str:
        """``text`` without the password, in either of the two spellings it could have."""
        for spelling in filter(None, {self.password, quote(self.password or "", safe="")}):
            text = text.replace(spelling, "***")
        return text


def without_secrets(inherited: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that needs no database. Messages in English, since they are quoted in reports."""
    return {name: value for name, value in inherited.items() if name not in _PRIVATE} | {"LC_ALL": "C"}


def server_from_url(url: str) -> Server:
    """Read ``postgresql://user:password@host:port/database?parameters`` (also ``postgres://``, ``…+driver://``).

    Raises StepFailed when it is no such URL; the text never holds a part of it, since a password with a bare
    ``/`` or ``#`` would otherwise turn up as a host or a port.
    """
    try:
        parts = urlsplit(url.strip())
        query = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise StepFailed("the database URL cannot be read") from None
    scheme = parts.scheme.partition("+")[0]
    if scheme not in {"postgres", "postgresql"}:
        raise StepFailed("the database URL must start with postgresql://")
    if parts.fragment or "@" in parts.path + parts.query or re.search(r"\s", parts.netloc):
        raise StepFailed("the database URL cannot be read: percent-encode special characters of the password")
    userinfo, at, hosts = parts.netloc.rpartition("@")
    user, _, secret = userinfo.partition(":")
    words = dict(query)
    if "sslpassword" in words:
        raise StepFailed("sslpassword in the database URL is not supported: use a key without a passphrase")
    password = words.pop("password", None) or unquote(secret) or None
    clean = urlunsplit(("postgresql", f"{user}{at}{hosts}", parts.path, urlencode(words), ""))
    return Server(clean, password)
