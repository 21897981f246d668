"""The database as features see it: a few methods, one error family, bounded waits.

Connections are never reset on release (a round trip that costs 20 to 45 % on short queries), so no statement may
leave session state behind: no SET without LOCAL, no session advisory lock, temporary tables ``ON COMMIT DROP``.
"""

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

import asyncpg

from ccl_service.platform.db_errors import DRIVER_ERRORS, ConnectionLost, translate, translated
from ccl_service.platform.lending import ACQUIRE_SECONDS, Lending
from ccl_service.platform.problems import (
    CclError,
    DatabaseUnavailable,
    StatementAborted,
)

T = TypeVar("T")

#: How long a statement may take, in seconds. Together with the wait for a connection and the handler's own work it
#: keeps an answer under five seconds when the database freezes.
STATEMENT_SECONDS: Final = 2.5
#: Connections that are open before the first request comes.
WARM_CONNECTIONS: Final = 4
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

    async def attempt(self, sql: str, *args: object) -> int:
        """``execute`` for a statement that may be refused: a transaction that it is part of goes on all the same."""
        return await self.execute(sql, *args)

    async def executemany(self, sql: str, args: Iterable[Sequence[object]], *, timeout: float | None = None) -> None:
        """Run one statement for each sequence of arguments, all or none."""
        async with self.connection() as con:
            await con.executemany(sql, args, timeout=timeout or STATEMENT_SECONDS)

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
        self._bound = _Bound(con)

    async def attempt(self, sql: str, *args: object) -> int:
        """See ``Db``."""
        async with self.transaction() as tx:
            return await tx.execute(sql, *args)

    def connection(self) -> contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        """The transaction's own."""
        return self._bound


class _Bound(contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]):
    """A connection that somebody else holds, for the length of a block; as often as wanted."""

    __slots__ = ("_con",)

    def __init__(self, con: "asyncpg.Connection[Any]") -> None:
        self._con = con

    async def __aenter__(self) -> "asyncpg.Connection[Any]":
        return self._con

    async def __aexit__(self, _: type[BaseException] | None, exc: BaseException | None, __: object) -> None:
        error = translate(exc) if isinstance(exc, DRIVER_ERRORS) else None
        if error is not None:
            raise error from exc


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
        self._pool: asyncpg.Pool[Any] = asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=size.connections,
            max_inactive_connection_lifetime=0,
            timeout=size.connect.total_seconds(),
            reset=_no_reset,
            command_timeout=STATEMENT_SECONDS,
            server_settings={"application_name": application},
            init=self._opened if watch else None,
        )
        self._lending = Lending(self._pool, idle_seconds=size.idle.total_seconds())

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
                await self._lending.close()
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
        return self._lending.lent

    @property
    def waiting(self) -> int:
        """Callers that wait for a connection."""
        return self._lending.waiting

    def connection(self) -> contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]:
        """See ``Db``."""
        return _Lent(self._lending, self._watch)


class _Lent(contextlib.AbstractAsyncContextManager["asyncpg.Connection[Any]"]):
    """A pool's connection for the length of a block. No generator: every statement comes through here."""

    __slots__ = ("_con", "_lending", "_watch")

    _con: "asyncpg.Connection[Any]"

    def __init__(self, lending: Lending, watch: PoolWatch | None) -> None:
        self._lending, self._watch = lending, watch

    async def __aenter__(self) -> "asyncpg.Connection[Any]":
        try:
            self._con, waited = await self._lending.borrow()
        except DRIVER_ERRORS as exc:
            error = self._told(exc)
            if error is None:
                raise
            raise error from exc
        if self._watch:
            self._watch.waited(waited)
        return self._con

    async def __aexit__(self, _: type[BaseException] | None, exc: BaseException | None, __: object) -> None:
        if exc is None:
            self._lending.give_back(self._con)
            return
        give_back = self._lending.give_back_later if _cut_off(exc) else self._lending.give_back
        give_back(self._con)
        error = self._told(exc)
        if error is not None:
            raise error from exc

    def _told(self, exc: BaseException) -> CclError | None:
        """The driver's error in the service's words, if it has some; the watch hears of the database's failures."""
        error = translate(exc) if isinstance(exc, DRIVER_ERRORS) else None
        if self._watch and isinstance(shown := error or exc, DatabaseUnavailable | StatementAborted):
            self._watch.failed(shown.code)
        return error


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
