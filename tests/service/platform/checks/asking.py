"""One check of the platform's, by its id."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from ccl_contract.readiness import Check
from ccl_service.platform.assembly import wall_clock
from ccl_service.platform.checks.catalog import register_all
from ccl_service.platform.checks.verdict import Subject
from ccl_service.platform.config import Settings
from ccl_service.platform.db import Db
from ccl_service.platform.readiness import CheckRegistry
from ccl_service.platform.redis_counts import RedisCounts


async def verdict(
    name: str,
    settings: Settings,
    db: Db,
    *,
    redis: RedisCounts | None = None,
    clock: Callable[[], datetime] = wall_clock,
) -> Check:
    """The check's document."""
    registry = CheckRegistry()
    register_all(registry, Subject(settings, db, redis, clock))
    try:
        return next(check for check in await registry.run() if check.id == name)
    finally:
        await registry.close()


async def status_and_reason(name: str, settings: Settings, db: Db, **options: Any) -> tuple[str, str]:
    """What the check says, in two words."""
    found = await verdict(name, settings, db, **options)
    return found.status.value, found.reason
