"""What the settings alone tell. Pure, but for key files that are read again."""

from typing import Final
from urllib.parse import urlsplit

from pydantic import SecretStr

from ccl_contract.strength import PUBLISHED, weaknesses
from ccl_service.platform.checks.verdict import FAIL, OK, WARN, Subject, Verdict
from ccl_service.platform.config import secret_texts

#: Passwords of examples and images.
EXAMPLE_PASSWORDS: Final = PUBLISHED | {"password", "postgres", "redis", "secret"}
EXAMPLE_ORIGIN: Final = "https://your-domain.com"
#: Requests per minute and client address: fewer stop people, more stop nobody.
FEWEST_PER_MINUTE: Final = 10
MOST_PER_MINUTE: Final = 6000


def environment(subject: Subject) -> Verdict:
    """Whether the strict rules hold here."""
    if subject.settings.production:
        return OK
    return Verdict(
        WARN,
        "NotProduction",
        f"CCL_ENV is {subject.settings.env}; weak secrets would be accepted and mail is limited to OUTBOUND_ALLOWLIST",
        "set CCL_ENV=production where customers are served",
    )


def variables(subject: Subject) -> Verdict:
    """Variables that mean nothing but look like ours."""
    slips = subject.settings.provenance.misspelt
    if not slips:
        return OK
    message = "; ".join(f"{slip.name} means nothing, {slip.meant} does" for slip in slips)
    return Verdict(WARN, "Misspelt", message, "rename or remove them")


def secrets_strong(subject: Subject) -> Verdict:
    """Keys of at least 256 bits, none published, no two variables with a key in common, no password of an example."""
    settings = subject.settings
    try:
        weak = weaknesses(secret_texts(settings.keys, vars(settings)))
    except (OSError, ValueError):
        return Verdict(WARN, "Unreadable", "a key file cannot be read now", "look at the mounted Secret")
    if weak:
        message = "; ".join(f"{name} {why}" for name, why in weak.items())
        return Verdict(FAIL, "WeakSecret", message, "generate 32 random bytes for each")
    urls = {"DATABASE_URL": settings.database_url, "REDIS_URL": settings.redis_url}
    if known := [name for name, url in urls.items() if url and _password(url) in EXAMPLE_PASSWORDS]:
        message = f"{' and '.join(known)} hold a password that stands in examples"
        return Verdict(WARN, "ExamplePassword", message, "give the account a random password")
    return OK


def _password(url: SecretStr) -> str | None:
    try:
        return urlsplit(url.get_secret_value()).password
    except ValueError:
        return None


def cors(subject: Subject) -> Verdict:
    """Exact origins."""
    origins = subject.settings.cors_origin
    if not origins:
        return Verdict(WARN, "NoOrigin", "CORS_ORIGIN is unset", "name the site that carries the chat widget")
    if "*" in origins:
        return Verdict(FAIL, "AnyOrigin", "CORS_ORIGIN allows every site", "name exact origins")
    if EXAMPLE_ORIGIN in origins:
        return Verdict(FAIL, "ExampleOrigin", "CORS_ORIGIN is that of the guide's example", "name your own site")
    if subject.settings.production and any(o.startswith("http://") for o in origins):
        return Verdict(WARN, "PlainOrigin", "CORS_ORIGIN holds an origin without TLS", "serve the site over https")
    return OK


def trust_proxy(subject: Subject) -> Verdict:
    """Whether the way clients are told apart is known."""
    trust = subject.settings.trust_proxy
    if any(n.prefixlen == 0 for n in trust.networks):
        return Verdict(FAIL, "TrustsEverybody", "TRUST_PROXY trusts every address", "name the load balancer's networks")
    if not trust.networks and not trust.hops and subject.settings.public_base_url:
        return Verdict(
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
        action = "set it to the https address of the load balancer"
        return Verdict(WARN, "NoPublicUrl", "PUBLIC_BASE_URL is unset", action)
    if urlsplit(url).scheme != "https":
        return Verdict(FAIL, "PlainHttp", "PUBLIC_BASE_URL is not https", "terminate TLS at the load balancer")
    return OK


def rate_limits(subject: Subject) -> Verdict:
    """A limit that still limits, and that people can live with."""
    settings = subject.settings
    per_minute = settings.rate_limit_max_requests * 60_000 / settings.rate_limit_window_ms
    shown = f"each client address may make {per_minute:g} requests per minute"
    if per_minute > MOST_PER_MINUTE:
        return Verdict(WARN, "High", shown, f"lower RATE_LIMIT_MAX_REQUESTS; above {MOST_PER_MINUTE} it stops nobody")
    if per_minute < FEWEST_PER_MINUTE:
        return Verdict(WARN, "Low", shown, f"raise RATE_LIMIT_MAX_REQUESTS; people need {FEWEST_PER_MINUTE} and more")
    return OK


def log_level(subject: Subject) -> Verdict:
    """Debug output is for development."""
    if subject.settings.production and subject.settings.log_level == "debug":
        return Verdict(WARN, "Debug", "LOG_LEVEL is debug in production", "set it to warn, or info while you look")
    return OK


def metrics(subject: Subject) -> Verdict:
    """What alerts are made of."""
    if subject.settings.metrics_enabled:
        return OK
    return Verdict(WARN, "Off", "METRICS_ENABLED is false; no alert can fire", "set it to true and scrape the service")


def error_tracking(subject: Subject) -> Verdict:
    """Somewhere errors are counted and kept besides the logs."""
    settings = subject.settings
    if not settings.production or settings.sentry_dsn or settings.otel_exporter_otlp_endpoint:
        return OK
    message = "neither SENTRY_DSN nor OTEL_EXPORTER_OTLP_ENDPOINT is set, so errors are in the logs only"
    return Verdict(WARN, "Off", message, "set one of them, or see to it that somebody reads what the logs collect")
