"""The database as features see it: a few methods, one error family, bounded waits.

Connections are never reset on release (a round trip that costs 20 to 45 % on short queries), so no statement may
leave session state behind: no SET without LOCAL, no session advisory lock, temporary tables ``ON COMMIT DROP``.
"""

import abc
import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import asyncpg

from ccl_service.platform.db_errors import ConnectionLost, translated
from ccl_service.platform.problems import (
    CclError,
    DatabaseUnavailable,
    StatementAborted,
)

T = TypeVar("T")

#: How long a request may wait for a connection, and a statement for its answer, in seconds. Together with the
#: handler's own work they keep an answer under five seconds when the database freezes.
ACQUIRE_SECONDS: Final = 2.0
STATEMENT_SECONDS: Final = 2.5
#: Connections that are open before the first request comes.
WARM_CONNECTIONS: Final = 4
#: How long a cut-off statement may take to be cancelled before its connection is given up.
CANCEL_SECONDS: Final = 2.0

#: How often a statement that only reads is asked again on another connection.
READ_AGAIN: Final = 2


class Db(abc.ABC):
    """Runs statements. Arguments go through ``$n``; ``timeout`` in seconds, ``STATEMENT_SECONDS`` when absent.

    Every method raises DatabaseUnavailable, StatementAborted, ConstraintViolated or ValueRefused.
    """

    _begin = "BEGIN"
    _commit = "COMMIT"
    _rollback = "ROLLBACK"

    @abc.abstractmethod
    def connection(self) -> contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        """A connection for the length of a block; translates errors."""

    @property
    def read(self) -> "Db":
        """For statements that only read and may show what was true some seconds ago: a copy, where there is one."""
        return self

    async def fetch(self, sql: str, *args: object, timeout: float | None = None) -> list[asyncpg.Record]:
        """All rows."""
        async with self.connection() as con:
            return await con.fetch(sql, *args, timeout=timeout or STATEMENT_SECONDS)

    async def fetchrow(self, sql: str, *args: object, timeout: float | None = None) -> asyncpg.Record | None:
        """The first row, or None."""
        async with self.connection() as con:
            return await con.fetchrow(sql, *args, timeout=timeout or STATEMENT_SECONDS)

    async def fetchval(self, sql: str, *args: object, timeout: float | None = None) -> Any:
        """The first column of the first row, or None."""
        async with self.connection() as con:
            return await con.fetchval(sql, *args, timeout=timeout or STATEMENT_SECONDS)

    async def execute(self, sql: str, *args: object, timeout: float | None = None) -> int:
        """Run one statement; returns the number of rows it touched (0 for what touches none)."""
        async with self.connection() as con:
            tag = await con.execute(sql, *args, timeout=timeout or STATEMENT_SECONDS)
        count = tag.rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    async def executemany(self, sql: str, args: Iterable[Sequence[object]], *, timeout: float | None = None) -> None:
        """Run one statement for each sequence of arguments, all or none."""
        async with self.connection() as con:
            await con.executemany(sql, args, timeout=timeout or STATEMENT_SECONDS)

    async def copy_records(
        self,
        table: str,
        *,
        columns: Sequence[str],
        records: Iterable[Sequence[object]],
        timeout: float | None = None,
    ) -> None:
        """COPY records into ``table``."""
        async with self.connection() as con:
            await con.copy_records_to_table(
                table, columns=list(columns), records=records, timeout=timeout or STATEMENT_SECONDS
            )

    @contextlib.asynccontextmanager
    async def transaction(self) -> "AsyncIterator[Db]":
        """A transaction (a savepoint inside another one); its statements go through the Db that it yields."""
        async with self.connection() as con:
            await con.execute(self._begin)
            try:
                yield BoundDb(con)
            except BaseException as exc:
                # a connection whose statement was cut off is rolled back where nobody waits for it
                if not _cut_off(exc):
                    await con.execute(self._rollback)
                raise
            await con.execute(self._commit)


class BoundDb(Db):
    """One connection, inside somebody else's transaction."""

    # a savepoint hides an outer one of the same name until it is released
    _begin = "SAVEPOINT nested"
    _commit = "RELEASE SAVEPOINT nested"
    _rollback = "ROLLBACK TO SAVEPOINT nested; RELEASE SAVEPOINT nested"

    def __init__(self, con: "asyncpg.Connection[Any]") -> None:
        self._con = con

    @contextlib.asynccontextmanager
    async def connection(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        with translated():
            yield self._con


def _cut_off(exc: BaseException) -> bool:
    """Whether a statement may still be running on the connection, or the connection is gone."""
    if isinstance(exc, asyncpg.PostgresError | CclError):
        return isinstance(exc, DatabaseUnavailable | asyncpg.PostgresConnectionError)
    gone = TimeoutError | OSError | asyncpg.InterfaceError | asyncpg.InternalClientError
    return not isinstance(exc, Exception) or isinstance(exc, gone)


@dataclass(frozen=True, slots=True)
class PoolSize:
    """Connections, and the times around them."""

    connections: int = 20
    idle: timedelta = timedelta(seconds=30)
    connect: timedelta = timedelta(seconds=60)


class PoolWatch(Protocol):
    """Is told how a pool fares. Called in the event loop; must neither wait nor raise."""

    def waited(self, seconds: float) -> None:
        """A caller has got a connection after ``seconds``."""

    def failed(self, code: str) -> None:
        """A caller got this problem for the database's sake."""

    def opened(self, con: "asyncpg.Connection[Any]") -> None:
        """A connection to the server is new."""


async def _no_reset(_: object) -> None:
    """Nothing: see the module's docstring."""


class PoolDb(Db):
    """A pool. It opens without touching the database, so that a process starts while the database is away."""

    def __init__(
        self, dsn: str, size: PoolSize, *, application: str = "ccl-service", watch: PoolWatch | None = None
    ) -> None:
        self._size = size
        self._watch = watch
        #: What ``read`` leads to; the pool's own connections while there is no copy.
        self.reader: Db = Reader(self)
        #: Callers that wait for a connection.
        self.waiting = 0
        # asyncpg's own waiters are not served in order; asyncio's semaphore is first in, first out
        self._turn = asyncio.Semaphore(size.connections)
        self._returning: set[asyncio.Task[None]] = set()
        self._pool: asyncpg.Pool[Any] = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=size.connections,
            max_inactive_connection_lifetime=size.idle.total_seconds(),
            timeout=size.connect.total_seconds(),
            reset=_no_reset,
            command_timeout=STATEMENT_SECONDS,
            server_settings={"application_name": application},
            init=self._opened if watch else None,
        )

    async def _opened(self, con: Any) -> None:
        if self._watch:
            self._watch.opened(con)

    async def open(self) -> None:
        """Make the pool ready for use."""
        await self._pool

    async def warm(self) -> None:
        """Open the first connections. Raises DatabaseUnavailable."""
        with translated():
            async with asyncio.timeout(ACQUIRE_SECONDS), contextlib.AsyncExitStack() as stack:
                for _ in range(min(WARM_CONNECTIONS, self._size.connections)):
                    await stack.enter_async_context(self.connection())

    async def close(self) -> None:
        """Close every connection, by force after two seconds."""
        try:
            async with asyncio.timeout(2):
                await self._pool.close()
        except (TimeoutError, asyncpg.InterfaceError):
            self._pool.terminate()

    @property
    def read(self) -> Db:
        """See ``Db``."""
        return self.reader

    @property
    def size(self) -> int:
        """The most connections there can be."""
        return self._size.connections

    @property
    def in_use(self) -> int:
        """Connections that are lent out."""
        return self._pool.get_size() - self._pool.get_idle_size()

    @contextlib.asynccontextmanager
    async def connection(self) -> "AsyncIterator[asyncpg.Connection[Any]]":
        try:
            with translated():
                con = await self._acquire()
                cut_off = False
                try:
                    yield con
                except BaseException as exc:
                    cut_off = _cut_off(exc)
                    raise
                finally:
                    await self._release(con, cut_off=cut_off)
        except (DatabaseUnavailable, StatementAborted) as exc:
            if self._watch:
                self._watch.failed(exc.code)
            raise

    async def _acquire(self) -> Any:
        started = time.perf_counter()
        self.waiting += 1
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._turn.acquire()
                try:
                    con = await self._pool.acquire()
                except BaseException:
                    self._turn.release()
                    raise
        finally:
            self.waiting -= 1
        if self._watch:
            self._watch.waited(time.perf_counter() - started)
        return con

    async def _release(self, con: Any, *, cut_off: bool) -> None:
        """Give the connection back; behind the request's back when its statement was cut off.

        Cancelling a statement needs the server, which may be the very thing that does not answer.
        """
        if not cut_off:
            try:
                await self._pool.release(con)
            finally:
                self._turn.release()
            return
        task = asyncio.create_task(self._release_later(con))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _release_later(self, con: Any) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await con.execute("ROLLBACK")  # waits for the cancelled statement's end first
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError):
            with contextlib.suppress(asyncpg.InterfaceError):  # it has ended, and the pool knows
                con.terminate()
        finally:
            try:
                await self._pool.release(con)
            finally:
                self._turn.release()


class Reader(Db):
    """Statements that only read: a lost connection costs another one, no answer."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def connection(self) -> contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        """One of the database's."""
        return self._db.connection()

    async def fetch(self, sql: str, *args: object, timeout: float | None = None) -> list[asyncpg.Record]:
        """All rows."""
        return await self._ask(lambda: self._db.fetch(sql, *args, timeout=timeout))

    async def fetchrow(self, sql: str, *args: object, timeout: float | None = None) -> asyncpg.Record | None:
        """The first row, or None."""
        return await self._ask(lambda: self._db.fetchrow(sql, *args, timeout=timeout))

    async def fetchval(self, sql: str, *args: object, timeout: float | None = None) -> Any:
        """The first column of the first row, or None."""
        return await self._ask(lambda: self._db.fetchval(sql, *args, timeout=timeout))

    @staticmethod
    async def _ask(run: Callable[[], Awaitable[T]]) -> T:
        for _ in range(READ_AGAIN):
            try:
                return await run()
            except ConnectionLost:
                continue
        return await run()
