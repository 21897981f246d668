"""Wires the process together: the only module that knows every feature.

Each feature package has a ``feature`` module with a ``FEATURE``; listing it in ``FEATURES`` is all it takes.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Final

from ccl_service.chat.feature import FEATURE as CHAT
from ccl_service.leads.feature import FEATURE as LEADS
from ccl_service.mail.feature import FEATURE as MAIL
from ccl_service.platform.api_keys.feature import FEATURE as API_KEYS
from ccl_service.platform.assembly import Service, open_platform, wall_clock
from ccl_service.platform.audit.feature import FEATURE as AUDIT
from ccl_service.platform.config import Settings
from ccl_service.platform.http import DB, Clock, Route
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.observability import queue_loop
from ccl_service.platform.phase import Role
from ccl_service.platform.quarantine.feature import work_feature
from ccl_service.platform.readiness import CheckFn
from ccl_service.platform.table import whole_table

__all__ = ["FEATURES", "Service", "open_service", "route_table", "wall_clock"]

#: In the order in which they open: a feature may use the services of those before it.
_FEATURES: Final = (AUDIT, API_KEYS, MAIL, LEADS, CHAT)
#: The tables of background work, whoever works them.
WORK_TABLES: Final = tuple(table for feature in _FEATURES for table in feature.tables)
FEATURES: Final[tuple[Feature, ...]] = (*_FEATURES, work_feature(WORK_TABLES))


def route_table() -> tuple[Route, ...]:
    """Every row of a process that serves everything, without opening anything."""
    return whole_table(route for feature in FEATURES for route in feature.routes)


@contextlib.asynccontextmanager
async def open_service(
    settings: Settings,
    *,
    role: Role = Role.ALL,
    checks: Mapping[str, CheckFn] | None = None,
    clock: Clock = wall_clock,
) -> AsyncIterator[Service]:
    """The platform with every feature on it.

    The role ``jobs`` serves probes and monitoring only; the role ``web`` runs no feature's workers. ``checks`` are
    further production-readiness checks by id. Touches the database nowhere yet.
    """
    async with contextlib.AsyncExitStack() as stack:
        served = () if role is Role.JOBS else tuple(route for feature in FEATURES for route in feature.routes)
        opening = open_platform(settings, role=role, features=served, checks=checks or {}, clock=clock)
        service = await stack.enter_async_context(opening)
        workers: list[Worker] = []
        for feature in FEATURES:
            workers += await stack.enter_async_context(feature.open(service.app))
        if settings.metrics_enabled:
            workers.append(queue_loop(service.app, service.app[DB], WORK_TABLES, service.metrics))
        yield service if role is Role.WEB else replace(service, workers=(*service.workers, *workers))
