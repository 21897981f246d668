"""The platform's checks in the order of the report; the first that fails names the reason, so it is by weight."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from ccl_service.platform.checks import backups, certificate, database, environment
from ccl_service.platform.checks.verdict import Subject, Verdict
from ccl_service.platform.readiness import CheckRegistry

#: From the settings alone.
JUDGED: Final[tuple[tuple[str, Callable[[Subject], Verdict]], ...]] = (
    ("SecretsStrong", environment.secrets_strong),
    ("Cors", environment.cors),
    ("TrustProxy", environment.trust_proxy),
    ("Tls", environment.tls),
)
#: From the database, asked each time.
ASKED: Final[tuple[tuple[str, Callable[[Subject], Awaitable[Verdict]]], ...]] = (
    ("DatabaseReachable", database.database_reachable),
    ("DatabaseVersion", database.database_version),
    ("SchemaCompatible", database.schema_compatible),
    ("ClockSkew", database.clock_skew),
    ("Redis", database.redis),
    ("PoolFits", database.pool_fits),
)
#: From elsewhere, remembered.
OUTSIDE: Final[tuple[tuple[str, Callable[[Subject], Awaitable[Verdict]]], ...]] = (
    ("ReadReplicas", database.replicas),
    ("BackupsFresh", backups.backups_fresh),
    ("Certificate", certificate.certificate),
)
#: From the settings alone, never more than a warning.
ADVISED: Final[tuple[tuple[str, Callable[[Subject], Verdict]], ...]] = (
    ("Environment", environment.environment),
    ("Variables", environment.variables),
    ("RateLimits", environment.rate_limits),
    ("LogLevel", environment.log_level),
    ("Metrics", environment.metrics),
    ("ErrorTracking", environment.error_tracking),
)


def register_all(registry: CheckRegistry, subject: Subject) -> None:
    """Register the platform's checks."""
    for name, judge in JUDGED:
        registry.judge(name, partial(judge, subject))
    for name, ask in ASKED:
        registry.ask(name, partial(ask, subject))
    for name, ask in OUTSIDE:
        registry.remember(name, partial(ask, subject))
    for name, judge in ADVISED:
        registry.judge(name, partial(judge, subject))
