"""The shapes that variables take: how a text becomes a value, and what is said, without it, when it does not."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, SecretStr

from ccl_contract.urls import HTTP, POSTGRES, REDIS, parse_dsn, parse_url
from ccl_service.platform.proxy import TrustProxy, parse_trust

DNS_PORT: Final = 53
_ORIGIN: Final = re.compile(r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?$|^https?://\[[0-9a-fA-F:]+\](:\d{1,5})?$")
_DOMAIN: Final = re.compile(
    r"^(?=.{1,253}$)[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$"
)


@dataclass(frozen=True, slots=True)
class Nameserver:
    """A DNS server: an IP address and a port."""

    address: str
    port: int = DNS_PORT

    def __str__(self) -> str:
        """As it is written in the variable."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def from_text(parse: Callable[[str], Any], complaint: str) -> BeforeValidator:
    """Parse texts and leave other values alone; whatever ``parse`` says with ValueError, ``complaint`` is shown."""

    def read(value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except ValueError:
            raise ValueError(complaint) from None

    return BeforeValidator(read)


def listed(text: str) -> tuple[str, ...]:
    """The entries of a comma list, without the empty ones."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _origins(text: str) -> tuple[str, ...]:
    """As browsers write them (RFC 6454, section 6.2): lower case, no default port."""
    found = tuple(entry.rstrip("/").lower() for entry in listed(text))
    if any(entry != "*" and not _ORIGIN.match(entry) for entry in found):
        raise ValueError
    return tuple(re.sub(r"(?<=^http:)(//.*):80$|(?<=^https:)(//.*):443$", r"\1\2", entry) for entry in found)


def _domain(text: str) -> str:
    if not _DOMAIN.match(text):
        raise ValueError
    return text.lower()


def _one_word(value: object) -> object:
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str) and not (text.isprintable() and text.isascii() and " " not in text):
        raise ValueError("must be one word of printable ASCII; look for a line break or a quotation mark too much")
    return value


def _nameserver(text: str) -> Nameserver:
    bare, _, port = text.rpartition(":") if re.search(r"(^[^:]+|\]):\d+$", text) else (text, "", "")
    address = ipaddress.ip_address(bare.removeprefix("[").removesuffix("]"))
    number = int(port or DNS_PORT)
    if not 0 < number < 65536:
        raise ValueError
    return Nameserver(str(address), number)


def _level(text: str) -> str:
    return {"warning": "warn"}.get(text.lower(), text.lower())


def _url(*schemes: str, local: bool = False) -> BeforeValidator:
    """A URL of these schemes. ``local``: it may mean a server of the same machine."""

    def check(value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            return value
        parse_url(text, *schemes, local=local)
        return text.rstrip("/") if "http" in schemes else value

    return BeforeValidator(check)


def _dsn(value: object) -> object:
    """Sentry's form: https://<key>@<host>/<project>."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(text, str):
        parse_dsn(text)
    return value


Words = Annotated[tuple[str, ...], BeforeValidator(lambda v: listed(v) if isinstance(v, str) else v)]
Origins = Annotated[tuple[str, ...], from_text(_origins, "must be a comma list of origins (scheme://host[:port])")]
Trust = Annotated[TrustProxy, from_text(parse_trust, "must be true, false, a hop count, or a comma list of CIDRs")]
DnsServer = Annotated[Nameserver, from_text(_nameserver, "must be an IP address, with :port where it is not 53")]
Level = BeforeValidator(lambda v: _level(v) if isinstance(v, str) else v)

Domain = Annotated[str, from_text(_domain, "must be a domain name")]
#: A key that travels in a header.
ApiKey = Annotated[SecretStr, BeforeValidator(_one_word)]

PostgresUrl = Annotated[SecretStr, _url(*POSTGRES, local=True)]
PostgresUrls = Annotated[tuple[PostgresUrl, ...], BeforeValidator(lambda v: listed(v) if isinstance(v, str) else v)]
HttpUrl = Annotated[str, _url(*HTTP)]
RedisUrl = Annotated[SecretStr, _url(*REDIS)]
SentryDsn = Annotated[SecretStr, BeforeValidator(_dsn)]


def at_least(lowest: int) -> AfterValidator:
    """Smaller numbers count as ``lowest``."""
    return AfterValidator(lambda number: max(number, lowest))
