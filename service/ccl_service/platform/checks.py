"""What ``production-readiness`` looks at: one function per check, each saying what to do about it.

Checks of one feature's own belong to the feature; these judge the environment, the database and the fleet.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from ccl_contract.readiness import Check, CheckStatus
from ccl_contract.strength import weaknesses
from ccl_service.platform.config import Settings, secret_texts
from ccl_service.platform.db import Db
from ccl_service.platform.instances import live_web
from ccl_service.platform.limits import RedisCounts
from ccl_service.platform.problems import CclError
from ccl_service.platform.readiness import CheckFn, CheckRegistry
from ccl_service.platform.schema import read_facts

PASS, WARN, FAIL = CheckStatus.PASS, CheckStatus.WARN, CheckStatus.FAIL
#: Connections that PostgreSQL keeps for superusers, and some for people and tools.
RESERVED: Final = 10

Verdict = tuple[CheckStatus, str, str, str]
OK: Final[Verdict] = (PASS, "", "", "")


@dataclass(frozen=True, slots=True)
class Subject:
    """What the checks look at."""

    settings: Settings
    db: Db
    redis: RedisCounts | None


def register_all(registry: CheckRegistry, subject: Subject) -> None:
    """Register the platform's checks; the first that fails names the reason, so the order is by weight."""
    judged: tuple[tuple[str, Callable[[Subject], Verdict]], ...] = (
        ("SecretsStrong", secrets_strong),
        ("Cors", cors),
        ("TrustProxy", trust_proxy),
        ("Tls", tls),
        ("MailgunKeys", mailgun_keys),
        ("MailSender", mail_sender),
        ("PostalAddress", postal_address),
        ("OpenAiKey", openai_key),
    )
    asked: tuple[tuple[str, Callable[[Subject], Awaitable[Verdict]]], ...] = (
        ("DatabaseReachable", database_reachable),
        ("SchemaCompatible", schema_compatible),
        ("Redis", redis),
        ("PoolFits", pool_fits),
    )
    for name, judge in judged:
        registry.register(name, _pure(name, judge, subject))
    for name, ask in asked:
        registry.register(name, _asking(name, ask, subject))


def _check(name: str, verdict: Verdict) -> Check:
    status, reason, message, action = verdict
    return Check(id=name, status=status, reason=reason, message=message, action=action)


def _pure(name: str, judge: Callable[[Subject], Verdict], subject: Subject) -> CheckFn:
    async def run() -> Check:
        return _check(name, judge(subject))

    return run


def _asking(name: str, ask: Callable[[Subject], Awaitable[Verdict]], subject: Subject) -> CheckFn:
    async def run() -> Check:
        return _check(name, await ask(subject))

    return run


def secrets_strong(subject: Subject) -> Verdict:
    """Keys of at least 256 bits, none published, JWT and session different."""
    settings = subject.settings
    values = {"mailgun_api_key": settings.mailgun_api_key, "openai_api_key": settings.openai_api_key}
    try:
        weak = weaknesses(secret_texts(settings.keys, values))
    except (OSError, ValueError):
        return WARN, "Unreadable", "a key file cannot be read now", "look at the mounted Secret"
    if not weak:
        return OK
    return FAIL, "WeakSecret", "; ".join(f"{n} {why}" for n, why in weak.items()), "generate 32 random bytes for each"


def cors(subject: Subject) -> Verdict:
    """Exact origins."""
    origins = subject.settings.cors_origin
    if not origins:
        return WARN, "NoOrigin", "CORS_ORIGIN is unset", "name the site that carries the chat widget"
    if "*" in origins:
        return FAIL, "AnyOrigin", "CORS_ORIGIN allows every site", "name exact origins"
    if subject.settings.production and any(o.startswith("http://") for o in origins):
        return WARN, "PlainOrigin", "CORS_ORIGIN holds an origin without TLS", "serve the site over https"
    return OK


def trust_proxy(subject: Subject) -> Verdict:
    """Whether the way clients are told apart is known."""
    trust = subject.settings.trust_proxy
    if any(n.prefixlen == 0 for n in trust.networks):
        return FAIL, "TrustsEverybody", "TRUST_PROXY trusts every address", "name the load balancer's networks"
    if not trust.networks and not trust.hops and subject.settings.public_base_url:
        return (
            WARN,
            "ProxyIgnored",
            "TRUST_PROXY is false while PUBLIC_BASE_URL is set; behind a load balancer all clients share one limit",
            "name the load balancer's networks, or leave it when clients connect directly",
        )
    return OK


def tls(subject: Subject) -> Verdict:
    """How the outside reaches us."""
    url = subject.settings.public_base_url
    if url is None:
        return WARN, "NoPublicUrl", "PUBLIC_BASE_URL is unset", "set it to the https address of the load balancer"
    if urlsplit(url).scheme != "https":
        return FAIL, "PlainHttp", "PUBLIC_BASE_URL is not https", "terminate TLS at the load balancer"
    return OK


def mailgun_keys(subject: Subject) -> Verdict:
    """Everything that sending and listening to Mailgun needs."""
    settings = subject.settings
    wanted = {
        "MAILGUN_API_KEY": settings.mailgun_api_key,
        "MAILGUN_DOMAIN": settings.mailgun_domain,
        "MAILGUN_WEBHOOK_SIGNING_KEY": settings.mailgun_webhook_signing_key,
    }
    missing = [name for name, value in wanted.items() if not value]
    if not missing:
        return OK
    return FAIL, "Missing", f"{', '.join(missing)} unset", "take them from Mailgun's control panel"


def mail_sender(subject: Subject) -> Verdict:
    """The From address, and that the provider may send for its domain."""
    sender, domain = subject.settings.mail_from, subject.settings.mailgun_domain
    if not sender:
        return WARN, "Derived", "MAIL_FROM is unset; an address of MAILGUN_DOMAIN is used", "set MAIL_FROM"
    at = sender.rpartition("@")[2].rstrip("> ").lower()
    if domain and at != domain.lower() and not domain.lower().endswith("." + at):
        return WARN, "ForeignDomain", "MAIL_FROM is not of MAILGUN_DOMAIN", "check SPF and DKIM alignment"
    return OK


def postal_address(subject: Subject) -> Verdict:
    """CAN-SPAM asks for one in every commercial e-mail (16 CFR 316)."""
    if subject.settings.mail_postal_address:
        return OK
    return FAIL, "Missing", "MAIL_POSTAL_ADDRESS is unset; marketing sends are held", "set the company's postal address"


def openai_key(subject: Subject) -> Verdict:
    """Without it the chat answers by rules."""
    if subject.settings.openai_api_key:
        return OK
    return (
        FAIL if subject.settings.production else WARN,
        "Missing",
        "OPENAI_API_KEY is unset; the chat answers by rules",
        "set the key",
    )


async def database_reachable(subject: Subject) -> Verdict:
    """One round trip through the pool."""
    try:
        await subject.db.fetchval("SELECT 1")
    except CclError:
        return FAIL, "NoAnswer", "the database does not answer", "look at DATABASE_URL, the server and the network"
    return OK


async def schema_compatible(subject: Subject) -> Verdict:
    """min_compatible ≤ own ≤ epoch."""
    try:
        facts = await read_facts(subject.db)
    except CclError:
        return FAIL, "Unknown", "the schema cannot be read", "see DatabaseReachable"
    if facts is None or facts.schema.own > facts.schema.epoch:
        return FAIL, "SchemaBehind", "the database lacks migrations of this version", "run ccl-service migrate"
    if facts.schema.ahead:
        return FAIL, "SchemaAhead", "the database has left this version behind", "run a newer version"
    return OK


async def redis(subject: Subject) -> Verdict:
    """Needed as soon as limits have to hold across instances."""
    if subject.redis is not None:
        try:
            await subject.redis.ping()
        except OSError:
            return WARN, "NoAnswer", "Redis does not answer; each instance counts for itself", "look at REDIS_URL"
        return OK
    try:
        live = await live_web(subject.db, subject.settings.ccl_revision)
    except (CclError, asyncpg.PostgresError):
        return WARN, "Unknown", "the live instances cannot be counted", "see DatabaseReachable"
    if live > 1:
        return FAIL, "Missing", f"{live} web instances share no limits", "set REDIS_URL"
    return OK


async def pool_fits(subject: Subject) -> Verdict:
    """This revision's pools against the server's max_connections."""
    try:
        facts = await read_facts(subject.db)
        live = max(1, await live_web(subject.db, subject.settings.ccl_revision)) if facts else 1
    except (CclError, asyncpg.PostgresError):
        facts = None
    if facts is None:
        return WARN, "Unknown", "the server's limit cannot be read", "see DatabaseReachable and SchemaCompatible"
    wanted, most = live * subject.settings.db_pool_size, facts.database.max_connections - RESERVED
    if wanted > most:
        return (
            WARN,
            "TooMany",
            f"{live} instances with DB_POOL_SIZE {subject.settings.db_pool_size} may open {wanted} of {most}",
            "lower DB_POOL_SIZE, raise max_connections, or put a pooler in front",
        )
    return OK
