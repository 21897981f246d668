"""Lends the connections of asyncpg's pool: first come, first served, and without the pool's own hands in between.

The pool opens, replaces and closes connections. To take one from it and give it back costs a task, a timer and a proxy,
as much as the shortest statements themselves; so what was taken is kept here, and lent again, until it has been idle.
"""

import asyncio
import contextlib
import time
from collections import deque
from typing import Any, Final

import asyncpg

from ccl_service.platform.db_errors import DRIVER_ERRORS

#: How long a borrower may wait, in seconds.
ACQUIRE_SECONDS: Final = 2.0
#: How long a cut-off statement may take to be cancelled before its connection is given up.
CANCEL_SECONDS: Final = 2.0


class Lending:
    """Connections, at most as many as the pool has, kept from the first time they are needed."""

    def __init__(self, pool: "asyncpg.Pool[Any]", *, idle_seconds: float) -> None:
        """``idle_seconds``: how long one is kept that nobody needs; 0: for ever. The pool closes none by itself."""
        self._pool, self._idle = pool, idle_seconds
        #: Borrowers that wait.
        self.waiting = 0
        #: Connections that are lent out.
        self.lent = 0
        # asyncpg's own waiters are not served in order; asyncio's semaphore is first in, first out
        self._turn = asyncio.Semaphore(pool.get_max_size())
        #: Those that nobody needs now, and since when; the last one given back is lent first.
        self._kept: deque[tuple[Any, float]] = deque()
        self._sweeping: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._closed = False

    async def borrow(self) -> tuple[Any, float]:
        """A connection, and the seconds that were waited for it.

        Raises TimeoutError, and what asyncpg raises when it cannot open one.
        """
        if not self._turn.locked():
            await self._turn.acquire()  # does not wait
            con = self._newest()
            if con is not None:
                self.lent += 1
                return con, 0.0
            self._turn.release()
        return await self._wait()

    async def _wait(self) -> tuple[Any, float]:
        started = time.perf_counter()
        self.waiting += 1
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):
                await self._turn.acquire()
                try:
                    con = self._newest() or await self._pool.acquire()
                except BaseException:
                    self._turn.release()
                    raise
        finally:
            self.waiting -= 1
        self.lent += 1
        return con, time.perf_counter() - started

    def give_back(self, con: Any) -> None:
        """Take a connection back whose statements have ended."""
        self.lent -= 1
        if self._closed:
            self._let_go(con)
        else:
            now = asyncio.get_running_loop().time()
            self._kept.append((con, now))
            if self._idle and self._sweeping is None:
                self._sweep_at(now + self._idle)
        self._turn.release()

    def give_back_later(self, con: Any) -> None:
        """Take a connection back whose statement was cut off: behind the borrower's back.

        Cancelling a statement needs the server, which may be the very thing that does not answer.
        """
        task = asyncio.create_task(self._recover(con))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _recover(self, con: Any) -> None:
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await con.execute("ROLLBACK")  # waits for the cancelled statement's end first
        except DRIVER_ERRORS:
            self._let_go(con)
        finally:
            self.give_back(con)

    async def close(self) -> None:
        """Close every connection once it is given back."""
        self._closed = True
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._kept:
            await self._pool.release(self._kept.pop()[0])
        await self._pool.close()

    def _newest(self) -> Any:
        """The kept connection that was given back last; None when none is left that is open."""
        while self._kept:
            con, _ = self._kept.pop()
            if _usable(con):
                return con
            self._let_go(con)
        return None

    @staticmethod
    def _let_go(con: Any) -> None:
        """End a connection; the pool may open another one in its place."""
        with contextlib.suppress(asyncpg.InterfaceError):  # it has ended, and the pool knows
            con.terminate()

    def _sweep_at(self, moment: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_at(moment, self._sweep)

    def _sweep(self) -> None:
        """End what nobody has needed."""
        self._sweeping = None
        before = asyncio.get_running_loop().time() - self._idle
        while self._kept and self._kept[0][1] <= before:
            self._let_go(self._kept.popleft()[0])
        if self._kept:
            self._sweep_at(self._kept[0][1] + self._idle)


def _usable(con: Any) -> bool:
    """Whether the connection is open. One that has ended is no longer the borrower's, which asyncpg refuses to say."""
    try:
        return not con.is_closed()
    except asyncpg.InterfaceError:
        return False
