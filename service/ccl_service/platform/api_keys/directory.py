"""Finds the key behind a request: a look-up that is remembered for a few seconds.

Every process remembers for itself, so a revocation made anywhere holds everywhere after ``REMEMBER_SECONDS``.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from ccl_service.platform.api_keys.model import Grant
from ccl_service.platform.api_keys.sql import GRANT, USED
from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.problems import CclError
from ccl_service.platform.route import Scope

REMEMBER_SECONDS: Final = 3.0
#: How often the times of last use are written. Together with the statement's own minute: one write a minute and key.
WRITE_SECONDS: Final = 10.0
#: Prefixes remembered, unknown ones included; beyond it the oldest go.
MOST_REMEMBERED: Final = 10_000

log = structlog.get_logger("ccl.keys")


@dataclass(frozen=True, slots=True)
class _Remembered:
    grant: Grant | None
    until: float


class Directory:
    """The keys that are valid now, by prefix."""

    def __init__(self, db: Db, *, clock: Callable[[], float], fits: Fits = always) -> None:
        """``clock`` in seconds, monotonic; ``fits`` is asked before last uses are noted (``platform.gate``)."""
        self._db = db
        self._gate = Gate("key-use", fits)
        self._clock = clock
        self._known: dict[str, _Remembered] = {}
        self._asking: dict[str, asyncio.Task[Grant | None]] = {}
        self._used: set[UUID] = set()

    def knows(self, prefix: str) -> bool:
        """Whether ``grant`` is cheap: it has just been answered, or the prefix is a key's.

        For a key the database is asked once in ``REMEMBER_SECONDS``, however many secrets are tried on it.
        """
        found = self._known.get(prefix)
        return found is not None and (found.grant is not None or found.until > self._clock())

    async def grant(self, prefix: str, secret: str) -> Grant | None:
        """What ``secret`` allows; None when it is not valid. Raises DatabaseUnavailable rather than guess."""
        found = self._known.get(prefix)
        grant = found.grant if found is not None and found.until > self._clock() else await self._once(prefix)
        if grant is None or not grant.opens_with(secret):
            return None
        self._used.add(grant.key_id)
        return grant

    def forget(self, prefixes: Iterable[str] = ()) -> None:
        """Ask again for these prefixes, or for all of them."""
        for prefix in tuple(prefixes) or tuple(self._known):
            self._known.pop(prefix, None)

    async def _once(self, prefix: str) -> Grant | None:
        """One statement however many requests wait for it; a caller that hangs up does not stop it for the others."""
        task = self._asking.get(prefix)
        if task is None:
            task = self._asking[prefix] = asyncio.create_task(self._ask(prefix))
            task.add_done_callback(lambda done: self._asked(prefix, done))
        return await asyncio.shield(task)

    def _asked(self, prefix: str, task: "asyncio.Task[Grant | None]") -> None:
        del self._asking[prefix]
        if not task.cancelled():
            task.exception()  # those who wait have it; without waiters nobody misses it

    async def _ask(self, prefix: str) -> Grant | None:
        asked_at = self._clock()
        row = await self._db.fetchrow(GRANT, prefix)
        grant = None if row is None else Grant(row["id"], _known(row["scopes"]), row["per_minute"], row["hash"])
        self._known.pop(prefix, None)  # the oldest are those that nobody has asked for lately
        while len(self._known) >= MOST_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[prefix] = _Remembered(grant, asked_at + REMEMBER_SECONDS)
        return grant

    async def write_used(self) -> None:
        """Note the last use of the keys seen since. Keeps them for the next time when the database is away."""
        used, self._used = self._used, set()
        if not used:
            return
        try:
            await self._db.execute(USED, list(used))
        except CclError as exc:
            self._used |= used
            log.warning("last use not noted", action="keys:used:deferred", keys=len(used), code=exc.code)

    async def run(self, stop: asyncio.Event) -> None:
        """Write the times of last use every ``WRITE_SECONDS`` and once more at the end."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), WRITE_SECONDS)
            if await self._gate.open():
                await self.write_used()


def _known(scopes: Iterable[str]) -> frozenset[Scope]:
    """Scopes of another version, which mean nothing here, are left out."""
    return frozenset(scope for scope in Scope if scope.value in set(scopes))
