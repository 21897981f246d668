"""The production-readiness checks of a process, and the report the operator's gate reads.

What each check looks at is ``platform.checks``; this module runs them, bounds them in time and puts them together.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import structlog

from ccl_contract.readiness import Check, CheckStatus, ReadinessReport, worst
from ccl_service.platform.checks.remembered import Remembered
from ccl_service.platform.checks.verdict import Verdict
from ccl_service.platform.db import Db
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import CclError
from ccl_service.platform.schema import SchemaFacts, read_facts

#: The gate gives up after 5 s; a check that takes longer than this is reported as failed.
CHECK_SECONDS: Final = 3.0

#: How old an answer to strangers may be: they must not make the database work.
LATEST_SECONDS: Final = 5.0

CheckFn = Callable[[], Awaitable[Check]]
log = structlog.get_logger("ccl.readiness")


class CheckRegistry:
    """The checks by id, in the order in which they were registered, which is the order of the report.

    ``register``, ``judge``, ``ask`` and ``remember`` raise ValueError for an id that is taken or unusable as a
    condition reason.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` in seconds, monotonic."""
        self._checks: dict[str, CheckFn] = {}
        self._remembered: list[Remembered] = []
        self._clock = clock
        self._running = asyncio.Lock()
        self._latest: tuple[Check, ...] | None = None
        self._ran_at = 0.0

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids in the order of the report."""
        return tuple(self._checks)

    def register(self, check_id: str, check: CheckFn) -> None:
        """Add a check that makes its own document."""
        if check_id in self._checks:
            raise ValueError(f"check {check_id} is registered twice")
        Check(id=check_id, status=CheckStatus.PASS)
        self._checks[check_id] = check

    def ask(self, check_id: str, ask: Callable[[], Awaitable[Verdict]]) -> None:
        """Add a check that is asked anew each time."""

        async def check() -> Check:
            return _document(check_id, await ask())

        self.register(check_id, check)

    def judge(self, check_id: str, judge: Callable[[], Verdict]) -> None:
        """Add a check that waits for nothing."""

        async def verdict() -> Verdict:
            return judge()

        self.ask(check_id, verdict)

    def remember(self, check_id: str, ask: Callable[[], Awaitable[Verdict]]) -> None:
        """Add a check that asks outside; see ``Remembered``."""
        remembered = Remembered(ask, clock=self._clock)
        self.ask(check_id, remembered.verdict)
        self._remembered.append(remembered)

    async def close(self) -> None:
        """Give up whatever is being asked outside."""
        for remembered in self._remembered:
            await remembered.close()

    async def run(self) -> tuple[Check, ...]:
        """Every check's verdict; the time of the slowest, at most ``CHECK_SECONDS``."""
        found = tuple(await asyncio.gather(*(_bounded(name, fn) for name, fn in self._checks.items())))
        self._latest, self._ran_at = found, self._clock()
        return found

    async def latest(self) -> tuple[Check, ...]:
        """The verdicts, at most ``LATEST_SECONDS`` old: many who ask cost no more than one."""
        async with self._running:
            if self._latest is not None and self._clock() - self._ran_at < LATEST_SECONDS:
                return self._latest
            return await self.run()


def _document(check_id: str, verdict: Verdict) -> Check:
    return Check(id=check_id, **verdict._asdict())


async def _bounded(check_id: str, check: CheckFn) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return Check(
            id=check_id,
            status=CheckStatus.FAIL,
            reason="NoAnswer",
            message=f"no verdict within {CHECK_SECONDS:g} s",
            action="look at the component that the check is named after",
        )
    except Exception as exc:
        log.error("check failed", action="readiness:check:failed", check=check_id, exc_info=exc)
        return Check(id=check_id, status=CheckStatus.FAIL, reason="CheckBroken", message="the check itself failed")


async def report(registry: CheckRegistry, *, revision: str, version: str, keys: KeyRing, db: Db) -> ReadinessReport:
    """The whole document. ``schema`` and ``database`` are absent while the database cannot be read."""
    checks, facts = await asyncio.gather(registry.run(), _facts(db))
    fields: Mapping[str, object] = {} if facts is None else {"schema": facts.schema, "database": facts.database}
    return ReadinessReport.model_validate(
        {
            "status": worst(c.status for c in checks),
            "revision": revision,
            "version": version,
            "keys": keys.ids(),
            "checks": checks,
            **fields,
        }
    )


async def _facts(db: Db) -> SchemaFacts | None:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return await read_facts(db)
    except (CclError, TimeoutError):
        return None
