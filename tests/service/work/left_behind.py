"""A schema that leaves a version behind, and what its background work says of it."""

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from typing import Any

from structlog.testing import capture_logs

from ccl_service.main import Service, open_service
from ccl_service.platform.config import Settings
from ccl_service.platform.lifecycle import working
from ccl_service.platform.phase import Role
from tests.service.polling import eventually

AHEAD = "UPDATE schema_state SET epoch = 99, min_compatible = 98"
USUAL = "UPDATE schema_state SET epoch = 99, min_compatible = 1"

Logs = Sequence[Mapping[str, Any]]


def said(logs: Iterable[Mapping[str, Any]], action: str) -> Counter[str]:
    """How often each job said so."""
    return Counter(line["task"] for line in logs if line.get("action") == action)


@asynccontextmanager
async def holding_back(settings: Settings, jobs: Set[str]) -> AsyncIterator[tuple[Service, Logs]]:
    """A process of background work once these jobs have said that they hold back, and its log, which ends with it."""
    with capture_logs() as logs:
        async with (
            open_service(settings, role=Role.JOBS) as process,
            working(process.workers, process.phase.stop, process.metrics),
        ):

            async def all_hold_back() -> bool:
                return set(said(logs, "work.held_back")) >= jobs

            await eventually(all_hold_back)
            yield process, logs
