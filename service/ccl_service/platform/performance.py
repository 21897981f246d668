"""How fast and how well requests are answered: this process, the fleet, the database.

Every process publishes its windows every ten seconds under its name in ``instances``; the fleet is the merge of those
that are alive, which is exact because histograms of equal buckets add up.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog
from pydantic import TypeAdapter, ValidationError

from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.instances import ALIVE_FOR
from ccl_service.platform.problems import CclError
from ccl_service.platform.telemetry.histogram import ERROR
from ccl_service.platform.telemetry.windows import (
    WINDOWS,
    Answered,
    Table,
    Windows,
    as_document,
    from_document,
    merge_into,
    whole,
)

PUBLISH: Final = timedelta(seconds=10)
PERCENTILES: Final = (50, 95, 99)
#: What a process publishes: by minutes, the rows of ``as_document``.
PUBLISHED: Final = TypeAdapter(dict[str, list[tuple[str, str, int, list[tuple[int, int]], int]]])

PUBLISH_SQL: Final = """
-- performance_publish: what process $1 answered lately is $2; a process that is not registered publishes nothing
INSERT INTO instance_performance (pod, at, windows) SELECT pod, now(), $2::jsonb FROM instances WHERE pod = $1
ON CONFLICT (pod) DO UPDATE SET at = excluded.at, windows = excluded.windows"""

FLEET_SQL: Final = """
-- performance_fleet: what the processes seen within $1 answered lately
SELECT i.pod, i.revision, i.role, extract(epoch FROM now() - p.at)::float8 AS age_s, p.windows
  FROM instance_performance p JOIN instances i USING (pod)
 WHERE i.seen_at > now() - $1::interval AND p.at > now() - $1::interval
 ORDER BY i.pod"""

log = structlog.get_logger("ccl.performance")


@dataclass(frozen=True, slots=True)
class Fleet:
    """The processes that published lately, and their windows by minutes."""

    instances: tuple[Mapping[str, Any], ...]
    windows: Mapping[int, Table]


class Publisher:
    """Publishes this process's windows."""

    def __init__(self, db: Db, pod: str, windows: Windows, *, fits: Fits = always) -> None:
        """``fits`` is asked before each publication (``platform.gate``)."""
        self._db, self._pod, self._windows = db, pod, windows
        self._gate = Gate("performance", fits)

    async def publish(self) -> None:
        """Write once. Raises DatabaseUnavailable."""
        document = {str(minutes): as_document(self._windows.window(minutes)) for minutes in WINDOWS}
        await self._db.execute(PUBLISH_SQL, self._pod, json.dumps(document))

    async def run(self, stop: asyncio.Event) -> None:
        """Publish until ``stop``; a database that is away costs a publication, nothing else."""
        while not stop.is_set():
            try:
                if await self._gate.open():
                    await self.publish()
            except CclError as exc:
                log.warning("performance not published", action="performance:publish:missed", code=exc.code)
            try:
                await asyncio.wait_for(stop.wait(), PUBLISH.total_seconds())
            except TimeoutError:
                continue


async def read_fleet(db: Db) -> Fleet:
    """What the live processes published. Raises DatabaseUnavailable.

    While versions are mixed, one may publish in a form that this version does not know: it is named and not counted.
    """
    merged: dict[int, Table] = {minutes: {} for minutes in WINDOWS}
    instances = []
    for row in await db.fetch(FLEET_SQL, ALIVE_FOR):
        published = _published(row["windows"])
        named = {name: row[name] for name in ("pod", "revision", "role")}
        instances.append(named | {"age_s": round(row["age_s"], 1), "counted": published is not None})
        for minutes in WINDOWS:
            merge_into(merged[minutes], (published or {}).get(minutes, {}))
    return Fleet(tuple(instances), merged)


def _published(document: str) -> Mapping[int, Table] | None:
    """What one process published, by minutes; None when its form is another."""
    try:
        windows = PUBLISHED.validate_json(document)
    except ValidationError:
        return None
    return {minutes: from_document(windows.get(str(minutes), ())) for minutes in WINDOWS}


def views(windows: Mapping[int, Table]) -> list[Mapping[str, Any]]:
    """One view for each window, shortest first, as JSON shows it; times in milliseconds within ``ERROR``."""
    return [_view(minutes, table) for minutes, table in sorted(windows.items())]


def own_windows(windows: Windows) -> Mapping[int, Table]:
    """This process's windows by minutes."""
    return {minutes: windows.window(minutes) for minutes in WINDOWS}


def _view(minutes: int, table: Table) -> Mapping[str, Any]:
    routes = [{"method": method, "route": route, **figures(one)} for (method, route), one in sorted(table.items())]
    every = whole(table)
    per_second = round(every.requests / (minutes * 60), 3)
    return {"minutes": minutes, "requests_per_s": per_second, **figures(every), "routes": routes}


def figures(answered: Answered) -> dict[str, Any]:
    """Requests, errors (5xx), their rate, those turned away, and percentiles in ms of the others; null without any."""
    total = answered.requests
    return {
        "requests": total,
        "shed": answered.shed,
        "errors": answered.errors,
        "error_rate": round(answered.errors / total, 4) if total else None,
        **{f"p{p}_ms": milliseconds(answered.latency.quantile(p / 100)) for p in PERCENTILES},
    }


def milliseconds(seconds: float | None) -> float | None:
    """Rounded to what the histogram can tell."""
    return None if seconds is None else round(seconds * 1000, 3)


def error_note() -> Mapping[str, Any]:
    """What a reader has to know of the percentiles."""
    return {"method": "nearest rank in logarithmic buckets", "relative_error": ERROR}


def fleet_document(fleet: Fleet) -> Mapping[str, Any]:
    """The fleet as JSON shows it."""
    return {"instances": list(fleet.instances), "windows": views(fleet.windows)}
