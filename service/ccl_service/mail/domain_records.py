"""What a mail domain's DNS says to those who get our mail: SPF, DKIM, DMARC. Judging is pure; ``Lookup`` asks.

Sources: RFC 7208 (SPF), RFC 6376 section 3.6.1 (DKIM key records), RFC 7489 section 6.6.3 (finding DMARC).
"""

import asyncio
import importlib
from collections.abc import Iterable, Sequence
from typing import Final

from ccl_service.platform.config_types import Nameserver

#: Seconds for one name, repetitions included.
LOOKUP_SECONDS: Final = 2.0


class LookupFailed(Exception):
    """DNS gave no answer either way."""


class Lookup:
    """Asks for TXT records."""

    def __init__(self, server: Nameserver | None) -> None:
        """``server``: whom to ask; None asks whom the system asks."""
        self._server = server

    async def texts(self, name: str) -> tuple[str, ...]:
        """The texts at ``name``, in no order; empty when there are none. Raises LookupFailed."""
        # 60 ms of imports that a process without this check need not pay, and not on the loop
        await asyncio.to_thread(importlib.import_module, "dns.asyncresolver")
        import dns.asyncresolver  # noqa: PLC0415

        try:
            resolver = dns.asyncresolver.Resolver(configure=self._server is None)
            if self._server is not None:
                resolver.nameservers, resolver.port = [self._server.address], self._server.port
            answer = await resolver.resolve(name, "TXT", search=False, lifetime=LOOKUP_SECONDS)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except (dns.exception.DNSException, OSError) as exc:
            raise LookupFailed from exc
        return tuple(b"".join(record.strings).decode("ascii", "replace") for record in answer)


def spf_fault(texts: Iterable[str]) -> str | None:
    """What is wrong with a domain's SPF record; None when it lets some send and not all."""
    records = [text.lower().split() for text in texts if text.lower().split()[:1] == ["v=spf1"]]
    if len(records) != 1:
        return "has no SPF record" if not records else "has several SPF records, which count as none"
    terms = records[0][1:]
    if {"all", "+all"} & set(terms):
        return "has an SPF record that lets everybody send"
    if all(term[1:] == "all" for term in terms):
        return "has an SPF record that lets nobody send"
    return None


def dkim_fault(texts: Iterable[str]) -> str | None:
    """What is wrong with a DKIM key record. An empty key means a revoked one."""
    keys = [tags["p"] for tags in map(_tags, texts) if "p" in tags and tags.get("v", "DKIM1") == "DKIM1"]
    if not keys:
        return "has no DKIM key"
    return None if all(keys) else "has a revoked DKIM key"


def dmarc_fault(found: Iterable[Iterable[str]]) -> str | None:
    """What is wrong with DMARC. ``found``: the texts of each name of ``dmarc_names``, in that order."""
    for texts in found:
        records = [tags for tags in map(_tags, texts) if tags.get("v") == "DMARC1"]
        if records:
            return None if len(records) == 1 and "p" in records[0] else "has a DMARC record that receivers ignore"
    return "has no DMARC record"


def dmarc_names(domain: str) -> Sequence[str]:
    """Where a policy for ``domain`` may stand, nearest first: at the domain and at its parents."""
    labels = domain.split(".")
    return [f"_dmarc.{'.'.join(labels[start:])}" for start in range(max(1, len(labels) - 1))]


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
