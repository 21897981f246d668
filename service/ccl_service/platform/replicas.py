"""Reads on copies of the database: which copy is fresh enough, and back to the primary when none is.

A statement goes to a replica only where its author wrote ``db.read``. It goes to the primary when every replica lags,
is away or fails, and for a caller who has just written: what one has written one wants to see. Lag is measured
against the primary's own log position, so that a replica whose connection to it broke does not look fresh.
"""

import asyncio
import contextlib
import contextvars
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import asyncpg
import structlog

from ccl_service.platform.db import Db, PoolDb
from ccl_service.platform.problems import DatabaseUnavailable, StatementAborted
from ccl_service.platform.telemetry import Metrics

T = TypeVar("T")

#: How often replicas are looked at, and how far behind one may be to be read, in seconds.
LOOK_SECONDS: Final = 2.0
LOOK_TIMEOUT: Final = 1.0
MOST_LAG_SECONDS: Final = 5.0
#: How long a replica may take, connection included: the primary can then still answer within a request's five seconds.
REPLICA_SECONDS: Final = 1.0
#: How long a caller who wrote reads from the primary: by then every replica that is read has caught up.
FRESH_SECONDS: Final = MOST_LAG_SECONDS + LOOK_SECONDS
MOST_WRITERS: Final = 10_000

PRIMARY_POSITION: Final = """
-- primary_position: how far the log has been written, in bytes
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"""

REPLICA_POSITION: Final = """
-- replica_position: how far the log has been replayed, in bytes; NULL on a server that is no replica (any more)
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0'::pg_lsn)::bigint END"""

_PRIMARY_ONLY: Final = contextvars.ContextVar("ccl_primary_only", default=False)

log = structlog.get_logger("ccl.replicas")


class PrimaryLog:
    """Where the primary's log stood when, in seconds and bytes; tells how old a position is."""

    def __init__(self, keep_seconds: float = MOST_LAG_SECONDS * 4) -> None:
        self._keep = keep_seconds
        self._seen: deque[tuple[float, int]] = deque()

    def saw(self, position: int, now: float) -> None:
        """The primary stood at ``position`` at ``now``."""
        self._seen.append((now, position))
        while now - self._seen[0][0] > self._keep:
            self._seen.popleft()

    def lag(self, replayed: int | None, now: float) -> float:
        """Seconds since the primary was last seen where a replica is now; infinite when that is not remembered."""
        if replayed is None:
            return float("inf")
        passed = [at for at, position in self._seen if position <= replayed]
        return now - passed[-1] if passed else float("inf")


class Writers:
    """Who has written a moment ago, in this process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """``clock`` in seconds, monotonic."""
        self._clock = clock
        self._until: dict[str, float] = {}

    def wrote(self, who: str) -> None:
        """Remember a writer; the one longest ago is forgotten when there are too many."""
        self._until.pop(who, None)
        if len(self._until) >= MOST_WRITERS:
            del self._until[next(iter(self._until))]
        self._until[who] = self._clock() + FRESH_SECONDS

    def recently(self, who: str) -> bool:
        """Whether ``who`` may not be shown an older state."""
        return self._until.get(who, 0.0) > self._clock()


class Replica:
    """One copy: its pool, and whether it may be read."""

    def __init__(self, name: str, pool: PoolDb) -> None:
        """``name`` for logs and metrics; no address."""
        self.name, self.pool = name, pool
        self.usable = False

    async def position(self) -> int | None:
        """How far it has replayed the log; None when it is no replica. Raises DatabaseUnavailable."""
        found: int | None = await self.pool.fetchval(REPLICA_POSITION, timeout=LOOK_TIMEOUT)
        return found


class ReadDb(Db):
    """Statements that only read: on a fresh replica if there is one, else on the primary.

    Transactions and connections are the primary's.
    """

    def __init__(self, primary: Db, replicas: Sequence[Replica], metrics: Metrics) -> None:
        self._primary, self._replicas, self._metrics = primary, replicas, metrics
        self._turn = itertools.count()

    def connection(self) -> "contextlib.AbstractAsyncContextManager[asyncpg.Connection[Any]]":
        """One of the primary's."""
        return self._primary.connection()

    async def fetch(self, sql: str, *args: object, timeout: float | None = None) -> list[asyncpg.Record]:
        """All rows."""
        return await self._ask(lambda db: db.fetch(sql, *args, timeout=timeout))

    async def fetchrow(self, sql: str, *args: object, timeout: float | None = None) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self._ask(lambda db: db.fetchrow(sql, *args, timeout=timeout))

    async def fetchval(self, sql: str, *args: object, timeout: float | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self._ask(lambda db: db.fetchval(sql, *args, timeout=timeout))

    async def _ask(self, run: Callable[[Db], Awaitable[T]]) -> T:
        replica = None if _PRIMARY_ONLY.get() else self._next()
        if replica is None:
            self._metrics.count("ccl_db_reads", "primary")
            return await run(self._primary)
        try:
            async with asyncio.timeout(REPLICA_SECONDS):
                found = await run(replica.pool)
        except (DatabaseUnavailable, TimeoutError):
            replica.usable = False  # until it is looked at again
            log.warning("replica failed", action="replica:statement:failed", replica=replica.name)
        except StatementAborted:
            pass  # replay went first (hot standby conflict); the replica is well
        else:
            self._metrics.count("ccl_db_reads", "replica")
            return found
        self._metrics.count("ccl_db_reads", "fallback")
        return await run(self._primary)

    def _next(self) -> Replica | None:
        """The usable replicas in turn."""
        usable = [replica for replica in self._replicas if replica.usable]
        return usable[next(self._turn) % len(usable)] if usable else None


class Replicas:
    """The copies of one primary. Opened and closed by its owner, kept judged by ``run``."""

    def __init__(
        self, primary: PoolDb, pools: Sequence[PoolDb], metrics: Metrics, *, clock: Callable[[], float]
    ) -> None:
        """From now on ``primary.read`` may lead to a copy. ``clock`` in seconds, monotonic."""
        self._primary, self._metrics, self._clock = primary, metrics, clock
        self._replicas = [Replica(str(number), pool) for number, pool in enumerate(pools, 1)]
        self._log = PrimaryLog()
        self._writers = Writers(clock)
        primary.reader = ReadDb(primary.reader, self._replicas, metrics)

    async def around(self, who: str, call: Awaitable[T], *, writes: bool) -> T:
        """Await ``call``, a request of ``who``, which reads from the primary when they have just written."""
        token = _PRIMARY_ONLY.set(writes or self._writers.recently(who))
        try:
            return await call
        finally:
            _PRIMARY_ONLY.reset(token)
            if writes:
                self._writers.wrote(who)

    async def look(self) -> None:
        """Judge every replica once."""
        try:
            position = await self._primary.fetchval(PRIMARY_POSITION, timeout=LOOK_TIMEOUT)
            self._log.saw(position, self._clock())
        except (DatabaseUnavailable, StatementAborted):
            pass  # what is remembered grows old, and with it the lag of every replica
        await asyncio.gather(*(self._judge(replica) for replica in self._replicas))

    async def run(self, stop: asyncio.Event) -> None:
        """Look every two seconds until ``stop``."""
        while not stop.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), LOOK_SECONDS)

    async def _judge(self, replica: Replica) -> None:
        try:
            async with asyncio.timeout(LOOK_TIMEOUT):
                replayed = await replica.position()
        except (DatabaseUnavailable, StatementAborted, TimeoutError):
            replayed = None
        lag = self._log.lag(replayed, self._clock())
        if (lag <= MOST_LAG_SECONDS) != replica.usable:
            replica.usable = not replica.usable
            log.warning(
                "replica judged anew", action="replica:state:changed", replica=replica.name, usable=replica.usable
            )
        self._metrics.gauge("ccl_db_replica_lag_seconds", lag, replica.name)
        self._metrics.gauge("ccl_db_replica_usable", float(replica.usable), replica.name)
