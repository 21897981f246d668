"""``ccl-service check``: the production-readiness report of a process that serves nobody, for people and programs."""

from collections.abc import Iterator, Mapping
from typing import Final

from ccl_contract.readiness import Check, CheckStatus, ReadinessReport
from ccl_service.main import open_service
from ccl_service.platform.config import Settings
from ccl_service.platform.http import DB, KEYS
from ccl_service.platform.monitoring import CHECKS
from ccl_service.platform.readiness import CheckFn, report
from ccl_service.version import VERSION

#: Worst first: what to do stands at the top.
ORDER: Final = (CheckStatus.FAIL, CheckStatus.WARN, CheckStatus.PASS)


async def examine(settings: Settings, checks: Mapping[str, CheckFn]) -> ReadinessReport:
    """The report that a process with these settings would give; ``checks`` are further ones by id."""
    async with open_service(settings, checks=checks) as service:
        app = service.app
        return await report(app[CHECKS], revision=settings.ccl_revision, version=VERSION, keys=app[KEYS], db=app[DB])


def table(found: ReadinessReport) -> str:
    """The report to read: a line per check, the action under it, the verdict last."""
    width = max((len(check.id) for check in found.checks), default=0)
    lines = [
        line for status in ORDER for check in found.checks if check.status is status for line in _lines(check, width)
    ]
    counts = ", ".join(f"{sum(c.status is status for c in found.checks)} {status}" for status in ORDER)
    verdict = "not ready" if found.status is CheckStatus.FAIL else "ready"
    return "\n".join([*lines, f"{verdict}: {counts}"]) + "\n"


def _lines(check: Check, width: int) -> Iterator[str]:
    yield f"{check.status:<4}  {check.id:<{width}}  {check.message}".rstrip()
    if check.action:
        yield f"{'':<4}  {'':<{width}}  → {check.action}"
