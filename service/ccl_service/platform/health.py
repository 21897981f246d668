"""Is this process fit to serve: the database on a connection of its own, the schema, the way out.

The pool may be exhausted while the database is well, so the probe does not go through it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from ccl_contract.schema import SchemaState
from ccl_service.migrations import OWN_EPOCH
from ccl_service.platform.db_errors import translated
from ccl_service.platform.problems import CclError

PROBE_SECONDS: Final = 2.0
CACHE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """``state`` is up, down or incompatible; ``reason`` is fit for strangers; ``latency_ms`` of the round trip."""

    state: str
    reason: str
    latency_ms: float
    checked_at: float


class DatabaseProbe:
    """Asks the database, at most once a second however many ask us."""

    def __init__(self, dsn: str, *, clock: Callable[[], float]) -> None:
        """``clock`` in seconds, monotonic."""
        self._dsn = dsn
        self._clock = clock
        self._con: asyncpg.Connection[Any] | None = None
        self._last: DatabaseHealth | None = None
        self._asking = asyncio.Lock()

    async def check(self) -> DatabaseHealth:
        """The state, no older than a second."""
        async with self._asking:
            now = self._clock()
            if self._last is None or now - self._last.checked_at >= CACHE_SECONDS:
                self._last = await self._ask(now)
            return self._last

    async def fits(self) -> bool:
        """Whether this version may work on the schema, no older than a second.

        A database that does not answer says nothing against it.
        """
        return (await self.check()).state != "incompatible"

    async def close(self) -> None:
        """Give the connection up."""
        con, self._con = self._con, None
        if con is not None:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await con.close(timeout=1)

    async def _ask(self, started: float) -> DatabaseHealth:
        try:
            with translated():
                async with asyncio.timeout(PROBE_SECONDS):
                    state = await self._schema()
        except (CclError, asyncpg.PostgresError, asyncpg.InterfaceError) as exc:
            self._drop()
            missing = isinstance(exc, asyncpg.UndefinedTableError)
            known = ("incompatible", "SchemaBehind") if missing else ("down", "DatabaseUnreachable")
            return self._health(*known, started)
        if state.ahead:
            return self._health("incompatible", "SchemaAhead", started)
        if not state.compatible:
            return self._health("incompatible", "SchemaBehind", started)
        return self._health("up", "", started)

    def _health(self, state: str, reason: str, started: float) -> DatabaseHealth:
        now = self._clock()
        return DatabaseHealth(state, reason, round((now - started) * 1000, 2), now)

    def _drop(self) -> None:
        if self._con is not None:
            self._con.terminate()
            self._con = None

    async def _schema(self) -> SchemaState:
        if self._con is None or self._con.is_closed():
            self._con = await asyncpg.connect(
                self._dsn, timeout=PROBE_SECONDS, server_settings={"application_name": "ccl-service probe"}
            )
        row = await self._con.fetchrow("SELECT epoch, min_compatible FROM schema_state")
        if row is None:
            return SchemaState(own=OWN_EPOCH, epoch=0, min_compatible=0)
        return SchemaState(own=OWN_EPOCH, epoch=row["epoch"], min_compatible=row["min_compatible"])
