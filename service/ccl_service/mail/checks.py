"""Production readiness of mail: what the settings tell, what Mailgun says about the account, what DNS says about the
domain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable
from email.utils import parseaddr
from functools import partial
from typing import TypeVar

import aiohttp
import asyncpg

from ccl_service.mail import domain_records
from ccl_service.mail.account import Account, dkim_names
from ccl_service.mail.domain_records import Lookup, LookupFailed
from ccl_service.mail.sql import bound_elsewhere
from ccl_service.platform.checks.database import in_time
from ccl_service.platform.checks.verdict import FAIL, OK, PASS, WARN, Verdict
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from ccl_service.platform.problems import CclError
from ccl_service.platform.readiness import CheckRegistry

T = TypeVar("T")


@contextlib.asynccontextmanager
async def mail_checks(registry: CheckRegistry, settings: Settings, db: Db) -> AsyncIterator[None]:
    """Register the checks; those that ask Mailgun work until the block ends."""
    registry.judge("MailgunKeys", partial(mailgun_keys, settings))
    registry.judge("MailSender", partial(mail_sender, settings))
    registry.judge("PostalAddress", partial(postal_address, settings))
    registry.judge("OutboundAllowlist", partial(outbound_allowlist, settings))
    registry.ask("MailIdentity", partial(mail_identity, settings, db))
    async with aiohttp.ClientSession() as session:
        account = _account(settings, session)
        if account is not None:
            registry.remember("MailgunAccount", account.verdict)
            if key := settings.mailgun_webhook_signing_key:
                registry.remember("MailgunWebhook", partial(account.webhook_verdict, key.get_secret_value()))
        if settings.mailgun_domain is not None:
            registry.remember("MailDomain", MailDomain(settings, account).verdict)
        yield


def _account(settings: Settings, session: aiohttp.ClientSession) -> Account | None:
    if settings.mailgun_api_key is None or settings.mailgun_domain is None:
        return None
    key = settings.mailgun_api_key.get_secret_value()
    return Account(session, base_url=settings.mailgun_base_url, domain=settings.mailgun_domain, api_key=key)


def mailgun_keys(settings: Settings) -> Verdict:
    """Everything that sending and listening to Mailgun needs."""
    wanted = {
        "MAILGUN_API_KEY": settings.mailgun_api_key,
        "MAILGUN_DOMAIN": settings.mailgun_domain,
        "MAILGUN_WEBHOOK_SIGNING_KEY": settings.mailgun_webhook_signing_key,
    }
    missing = [name for name, value in wanted.items() if not value]
    if not missing:
        return OK
    return Verdict(FAIL, "Missing", f"{', '.join(missing)} unset", "take them from Mailgun's control panel")


def sender_domain(settings: Settings) -> str | None:
    """The domain that people see in the From address, in lower case."""
    address = parseaddr(settings.mail_from or "")[1]
    domain = address.rpartition("@")[2] or settings.mailgun_domain
    return domain.lower() if domain else None


def mail_sender(settings: Settings) -> Verdict:
    """The From address, and that the provider may send for its domain."""
    if not settings.mail_from:
        return Verdict(WARN, "Derived", "MAIL_FROM is unset; an address of MAILGUN_DOMAIN is used", "set MAIL_FROM")
    if "@" not in parseaddr(settings.mail_from)[1]:
        return Verdict(FAIL, "NoAddress", "MAIL_FROM holds no e-mail address", "write it as Name <name@domain>")
    seen, domain = sender_domain(settings), settings.mailgun_domain
    if domain and seen != domain.lower() and not domain.lower().endswith(f".{seen}"):
        message = "MAIL_FROM is not of MAILGUN_DOMAIN, so SPF and DKIM do not speak for it"
        return Verdict(WARN, "ForeignDomain", message, "use an address of MAILGUN_DOMAIN or of its parent domain")
    return OK


def postal_address(settings: Settings) -> Verdict:
    """CAN-SPAM asks for one in every commercial e-mail (16 CFR 316)."""
    if settings.mail_postal_address:
        return OK
    message = "MAIL_POSTAL_ADDRESS is unset; marketing sends are held"
    return Verdict(FAIL, "Missing", message, "set the company's postal address")


def outbound_allowlist(settings: Settings) -> Verdict:
    """Who may get mail, in words; the list counts outside production only."""
    entries = settings.outbound_allowlist
    if settings.production:
        if not entries:
            return OK
        return Verdict(WARN, "Ignored", "OUTBOUND_ALLOWLIST counts outside production only", "remove it")
    if not entries:
        message = "OUTBOUND_ALLOWLIST is empty outside production, so every send is held"
        return Verdict(WARN, "HoldsAll", message, "name the addresses and @domains that may get mail")
    if "*" in entries:
        message = "OUTBOUND_ALLOWLIST lets mail go to everybody from a system that is not production"
        return Verdict(WARN, "AllowsAll", message, "keep * for a fake provider; name addresses otherwise")
    return Verdict(PASS, "Limited", f"mail goes to {len(entries)} entries of OUTBOUND_ALLOWLIST only")


async def mail_identity(settings: Settings, db: Db) -> Verdict:
    """Whether this deployment may send from this database, or the database is a restored or copied one."""
    try:
        elsewhere = await in_time(bound_elsewhere(db, settings.ccl_deployment_id))
    except (CclError, asyncpg.PostgresError):
        return Verdict(WARN, "Unknown", "whose database this is cannot be read", "see SchemaCompatible")
    if not elsewhere:
        return OK
    message = "the database belongs to another deployment, so every send is held"
    action = "keep it so for a copy; after a restore add the opt-outs since, then empty the table deployment_identity"
    return Verdict(WARN, "OtherDeployment", message, action)


class MailDomain:
    """SPF of the sending domain, DKIM of the keys that Mailgun names, DMARC of the domain that people see."""

    def __init__(self, settings: Settings, account: Account | None) -> None:
        self._settings = settings
        self._account = account
        self._lookup = Lookup(settings.dns_server)

    async def verdict(self) -> Verdict:
        """Never more than a warning: receivers judge mail by these records, we do not."""
        try:
            faults = [fault for fault in await _all(self._spf(), self._dkim(), self._dmarc()) if fault]
        except LookupFailed:
            message = "DNS does not answer, so the mail domain's records are not known"
            return Verdict(WARN, "DnsUnreachable", message, "look at the cluster's DNS, or name a DNS_SERVER")
        if not faults:
            return OK
        action = "publish the records that Mailgun's control panel names, and a DMARC policy"
        return Verdict(WARN, "Records", "; ".join(faults), action)

    async def _spf(self) -> str | None:
        domain = self._settings.mailgun_domain or ""
        return _about(domain, domain_records.spf_fault(await self._lookup.texts(domain)))

    async def _dkim(self) -> str | None:
        details = await self._account.domain() if self._account else None
        names = dkim_names(details.body) if details else ()
        found = await _all(*(self._lookup.texts(name) for name in names))
        faults = (_about(name, domain_records.dkim_fault(texts)) for name, texts in zip(names, found, strict=True))
        return "; ".join(filter(None, faults)) or None

    async def _dmarc(self) -> str | None:
        domain = sender_domain(self._settings) or ""
        names = domain_records.dmarc_names(domain)
        found = await _all(*(self._lookup.texts(name) for name in names))
        return _about(domain, domain_records.dmarc_fault(found))


async def _all(*asking: Awaitable[T]) -> list[T]:
    """All answers. Raises LookupFailed when one failed, but not before all have ended."""
    found = await asyncio.gather(*asking, return_exceptions=True)
    for answer in found:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in found if not isinstance(answer, BaseException)]


def _about(name: str, fault: str | None) -> str | None:
    return f"{name} {fault}" if fault else None
