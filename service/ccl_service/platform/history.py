"""The history of metrics: one narrow row per process and minute, and questions to it across processes and time.

A counter is stored as what was added in that minute, a gauge as it stood, latencies as a mergeable histogram. Old rows
are removed by ``ccl-service maintain``.
"""

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from ccl_service.platform.db import Db
from ccl_service.platform.gate import Fits, Gate, always
from ccl_service.platform.instances import Instance
from ccl_service.platform.performance import milliseconds
from ccl_service.platform.problems import CclError
from ccl_service.platform.series import RATIOS, SERIES, Kind
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.telemetry.histogram import LogHistogram
from ccl_service.platform.telemetry.windows import whole

EVERY: Final = timedelta(minutes=1)


RECORD_SQL: Final = """
-- history_record: the row of process $1 of revision $2 for the minute $5 from now; none when that minute has one
INSERT INTO metrics_history (at, pod, revision, values, latency)
VALUES (date_trunc('minute', now() + $5::interval), $1, $2, $3::jsonb, $4::jsonb) ON CONFLICT DO NOTHING"""

_BUCKET: Final = "date_bin($3::interval, at, $1::timestamptz)"
_RANGE: Final = "at >= $1 AND at < $2"

SUM_SQL: Final = f"""
-- history_sum: metric $4 from $1 until $2 by steps of $3
SELECT {_BUCKET} AS bucket, sum((values ->> $4)::float8) AS value
  FROM metrics_history WHERE {_RANGE} AND values ? $4 GROUP BY 1 ORDER BY 1"""  # noqa: S608 - constants of the program

MAX_SQL: Final = f"""
-- history_max: the largest value of metric $4 from $1 until $2 by steps of $3
SELECT {_BUCKET} AS bucket, max((values ->> $4)::float8) AS value
  FROM metrics_history WHERE {_RANGE} AND values ? $4 GROUP BY 1 ORDER BY 1"""  # noqa: S608

MEAN_SQL: Final = f"""
-- history_mean: all processes together, on average over each step
SELECT date_bin($3::interval, minute.at, $1::timestamptz) AS bucket, avg(minute.value) AS value
  FROM (SELECT at, sum((values ->> $4)::float8) AS value
          FROM metrics_history WHERE {_RANGE} AND values ? $4 GROUP BY at) AS minute
 GROUP BY 1 ORDER BY 1"""  # noqa: S608

RATIO_SQL: Final = f"""
-- history_ratio: metric $4 over metric $5; steps without any of the latter are left out
SELECT {_BUCKET} AS bucket,
       sum((values ->> $4)::float8) / nullif(sum((values ->> $5)::float8), 0) AS value
  FROM metrics_history WHERE {_RANGE} AND values ? $5 GROUP BY 1 ORDER BY 1"""  # noqa: S608

LATENCY_SQL: Final = f"""
-- history_latency: the merged histogram of each step
SELECT bucket, jsonb_agg(jsonb_build_array(slot, count)) AS pairs
  FROM (SELECT {_BUCKET} AS bucket, (pair ->> 0)::int AS slot, sum((pair ->> 1)::bigint) AS count
          FROM metrics_history, jsonb_array_elements(latency) AS pair WHERE {_RANGE} GROUP BY 1, 2) AS slots
 GROUP BY 1 ORDER BY 1"""  # noqa: S608

_AGGREGATES: Final = {Kind.SUM: SUM_SQL, Kind.MAX: MAX_SQL, Kind.MEAN: MEAN_SQL}
#: A question may read a month of rows.
READ_SECONDS: Final = 5.0

log = structlog.get_logger("ccl.history")


class Recorder:
    """Writes this process's row every minute, and the last one at the end."""

    def __init__(self, db: Db, instance: Instance, metrics: Metrics, *, fits: Fits = always) -> None:
        """``fits`` is asked before each row (``platform.gate``)."""
        self._db, self._instance, self._metrics = db, instance, metrics
        self._gate = Gate("history", fits)
        self._before: dict[str, float] = {}

    async def record(self, *, ahead: timedelta = timedelta()) -> bool:
        """Write once. False when the minute, ``ahead`` of this one, has a row; what was counted goes into the next.

        Raises DatabaseUnavailable.
        """
        samples = self._metrics.samples()
        now = {name: one.read(samples) for name, one in SERIES.items() if one.sample}
        values = {
            name: now[name] - self._before.get(name, 0.0) if SERIES[name].kind is Kind.SUM else now[name]
            for name in now
        }
        latency = whole(self._metrics.windows.window(1)).latency.as_pairs()
        rows = await self._db.execute(
            RECORD_SQL, self._instance.pod, self._instance.revision, json.dumps(values), json.dumps(latency), ahead
        )
        if rows:
            self._before = now
        return bool(rows)

    async def run(self, stop: asyncio.Event) -> None:
        """Write until ``stop`` and once more; while the database is away what was counted waits for the next row."""
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY.total_seconds())
            try:
                # a minute that has a row already is not this process's last: the next one, which it will not see, is
                if await self._gate.open() and not await self.record() and stop.is_set():
                    await self.record(ahead=EVERY)
            except CclError as exc:
                log.warning("history not written", action="history:record:missed", code=exc.code)


@dataclass(frozen=True, slots=True)
class Point:
    """``at``: the beginning of the step."""

    at: datetime
    value: float


async def read(db: Db, name: str, *, since: datetime, until: datetime, step: timedelta) -> list[Point]:
    """One metric of the fleet, oldest first; steps without data are left out. Raises KeyError, DatabaseUnavailable."""
    series = SERIES[name]
    if series.kind is Kind.PERCENTILE:
        rows = await db.fetch(LATENCY_SQL, since, until, step, timeout=READ_SECONDS)
        return [Point(row["bucket"], _percentile(row["pairs"], series.percent)) for row in rows]
    if series.kind is Kind.RATIO:
        rows = await db.fetch(RATIO_SQL, since, until, step, *RATIOS[name], timeout=READ_SECONDS)
    else:
        rows = await db.fetch(_AGGREGATES[series.kind], since, until, step, name, timeout=READ_SECONDS)
    return [Point(row["bucket"], row["value"]) for row in rows if row["value"] is not None]


def _percentile(pairs: str, percent: int) -> float:
    return milliseconds(LogHistogram.from_pairs(json.loads(pairs)).quantile(percent / 100)) or 0.0
