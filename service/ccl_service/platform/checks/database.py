"""What the database tells: that it answers, what it is, whether it fits this version and this fleet."""

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final, TypeVar

import asyncpg

from ccl_service.platform.checks.verdict import FAIL, OK, PASS, WARN, Subject, Verdict
from ccl_service.platform.db_errors import translated
from ccl_service.platform.instances import live_instances, live_web
from ccl_service.platform.problems import CclError, DatabaseUnavailable
from ccl_service.platform.schema import read_facts

#: Below ``readiness.CHECK_SECONDS``, so that a database that hangs is a verdict of these functions.
ASK_SECONDS: Final = 2.5
#: Connections that PostgreSQL keeps for superusers, and some for people and tools.
RESERVED: Final = 10
#: What a process opens beside its pool: the readiness probe's.
OWN_CONNECTIONS: Final = 1
#: Major versions that are tested.
SUPPORTED: Final = range(14, 18)
SKEW_SEEN: Final = timedelta(seconds=2)
SKEW_WRONG: Final = timedelta(seconds=60)

SERVER_VERSION: Final = """
-- server_version: as in 170004
SELECT current_setting('server_version_num')::int"""

CLOCK: Final = """
-- database_clock: now, not the start of the transaction
SELECT clock_timestamp()"""

T = TypeVar("T")


async def in_time(asking: Awaitable[T]) -> T:
    """The answer of a database. Raises CclError, among them DatabaseUnavailable after ``ASK_SECONDS``."""
    try:
        async with asyncio.timeout(ASK_SECONDS):
            return await asking
    except TimeoutError as exc:
        raise DatabaseUnavailable from exc


async def database_reachable(subject: Subject) -> Verdict:
    """One round trip through the pool."""
    try:
        await in_time(subject.db.fetchval("SELECT 1"))
    except CclError:
        action = "look at DATABASE_URL, the server and the network"
        return Verdict(FAIL, "NoAnswer", "the database does not answer", action)
    return OK


async def database_version(subject: Subject) -> Verdict:
    """A server of a major version that this service is tested with."""
    try:
        version_num = await in_time(subject.db.fetchval(SERVER_VERSION))
    except CclError:
        return Verdict(WARN, "Unknown", "the server's version cannot be read", "see DatabaseReachable")
    return version_verdict(version_num)


def version_verdict(version_num: int) -> Verdict:
    """``version_num`` as in 170004."""
    major = version_num // 10_000
    tested = f"PostgreSQL {SUPPORTED[0]} to {SUPPORTED[-1]} are tested"
    if major in SUPPORTED:
        return OK
    if major < SUPPORTED[0]:
        return Verdict(FAIL, "TooOld", f"the server is PostgreSQL {major}; {tested}", "upgrade the server")
    return Verdict(WARN, "Untested", f"the server is PostgreSQL {major}; {tested}", "use a tested version")


async def schema_compatible(subject: Subject) -> Verdict:
    """min_compatible ≤ own ≤ epoch."""
    try:
        facts = await in_time(read_facts(subject.db))
    except CclError:
        return Verdict(FAIL, "Unknown", "the schema cannot be read", "see DatabaseReachable")
    if facts is None or facts.schema.own > facts.schema.epoch:
        message = "the database lacks migrations of this version"
        return Verdict(FAIL, "SchemaBehind", message, "run ccl-service migrate")
    if facts.schema.ahead:
        return Verdict(FAIL, "SchemaAhead", "the database has left this version behind", "run a newer version")
    return OK


async def clock_skew(subject: Subject) -> Verdict:
    """This machine's clock against the database's, whose time decides when things are due.

    Half the round trip is what the comparison cannot know, so it counts in favour.
    """
    before = subject.clock()
    try:
        there = await in_time(subject.db.fetchval(CLOCK))
    except CclError:
        return Verdict(WARN, "Unknown", "the database's clock cannot be read", "see DatabaseReachable")
    half = (subject.clock() - before) / 2
    return skew_verdict(abs(there - (before + half)) - half)


def skew_verdict(skew: timedelta) -> Verdict:
    """By how much two clocks differ for certain."""
    if skew <= SKEW_SEEN:
        return OK
    message = f"this clock and the database's differ by {skew.total_seconds():.0f} s"
    action = "synchronise both machines (chrony, systemd-timesyncd); tokens and signatures carry times"
    return Verdict(FAIL if skew > SKEW_WRONG else WARN, "Skewed", message, action)


async def redis(subject: Subject) -> Verdict:
    """Needed as soon as limits have to hold across instances."""
    if subject.redis is not None:
        try:
            async with asyncio.timeout(ASK_SECONDS):
                await subject.redis.ping()
        except OSError:
            message = "Redis does not answer; each instance counts for itself"
            return Verdict(WARN, "NoAnswer", message, "look at REDIS_URL, the server and the network")
        return OK
    try:
        live = await in_time(live_web(subject.db, subject.settings.ccl_revision))
    except (CclError, asyncpg.PostgresError):
        return Verdict(WARN, "Unknown", "the live instances cannot be counted", "see DatabaseReachable")
    if live > 1:
        return Verdict(FAIL, "Missing", f"{live} web instances share no limits", "set REDIS_URL")
    return OK


async def pool_fits(subject: Subject) -> Verdict:
    """The pools of all live processes, old revisions' too, against the server's max_connections."""
    settings = subject.settings
    if settings.database_direct_url not in (None, settings.database_url):
        return Verdict(PASS, "BehindPooler", "a pooler stands before the server; its own limits count")
    try:
        facts = await in_time(read_facts(subject.db))
        live = max(1, await in_time(live_instances(subject.db))) if facts else 1
    except (CclError, asyncpg.PostgresError):
        facts = None
    if facts is None:
        action = "see DatabaseReachable and SchemaCompatible"
        return Verdict(WARN, "Unknown", "the server's limit cannot be read", action)
    wanted = live * (settings.db_pool_size + OWN_CONNECTIONS)
    most = facts.database.max_connections - RESERVED
    if wanted <= most:
        return OK
    return Verdict(
        WARN,
        "TooMany",
        f"{live} processes with DB_POOL_SIZE {settings.db_pool_size} may open {wanted} of {most} connections",
        "lower DB_POOL_SIZE, raise max_connections, or put a pooler in front",
    )


REPLICA: Final = """
-- replica_in_recovery: whether this server follows another one
SELECT pg_is_in_recovery()"""


async def replicas(subject: Subject) -> Verdict:
    """Each read replica answers and is one."""
    urls = [url.get_secret_value() for url in subject.settings.database_replica_urls]
    found = await asyncio.gather(*(_in_recovery(url) for url in urls))
    away = [str(n) for n, state in enumerate(found, 1) if state is None]
    if away:
        message = f"of {len(urls)} read replicas number {', '.join(away)} does not answer; reads go to the primary"
        return Verdict(WARN, "NoAnswer", message, "look at DATABASE_REPLICA_URLS, the servers and the network")
    if primaries := [str(n) for n, state in enumerate(found, 1) if state is False]:
        message = f"of {len(urls)} read replicas number {', '.join(primaries)} follows no primary"
        return Verdict(WARN, "NotAReplica", message, "name servers that stream from the primary")
    return OK


async def _in_recovery(url: str) -> bool | None:
    """None when it does not answer."""
    try:
        with translated():
            async with asyncio.timeout(ASK_SECONDS - 0.5):
                con = await asyncpg.connect(url, server_settings={"application_name": "ccl-service check"})
                try:
                    return bool(await con.fetchval(REPLICA))
                finally:
                    con.terminate()
    except (CclError, asyncpg.PostgresError, ValueError):
        return None
