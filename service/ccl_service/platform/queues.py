"""How much work waits: the tables that ``platform.work`` works, sampled where background work is done.

Counts stop at a bound, so that a million due rows cost no more than a few thousand.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import structlog

from ccl_service.platform.db import Db
from ccl_service.platform.problems import CclError
from ccl_service.platform.telemetry import Metrics
from ccl_service.platform.work import QUARANTINED, WorkTable

SAMPLE_SECONDS: Final = 15.0
#: Rows are counted up to this many.
MOST_COUNTED: Final = 10_000
#: A due row that has waited longer makes the queue count as behind. A first contact is due within five minutes.
BEHIND_SECONDS: Final = 600.0
LANES: Final = 3

log = structlog.get_logger("ccl.queues")


@dataclass(frozen=True, slots=True)
class Depth:
    """Rows that are due and free, under a lease, given up; and how many seconds the oldest due one has waited."""

    due: int
    leased: int
    quarantined: int
    oldest_due_s: float


def depth_statement(table: WorkTable) -> str:
    """Reads the due index and the index of quarantined rows only."""
    name = table.name
    free = "(lease_until IS NULL OR lease_until < now())"
    return f"""
-- {name}_depth: how much waits, counted up to {MOST_COUNTED}
WITH due AS MATERIALIZED (
    SELECT lane, due_at, {free} AS free FROM {name}
     WHERE state IN ({table.states}) AND due_at <= now() LIMIT {MOST_COUNTED}),
oldest AS (
    SELECT min(first.due_at) AS due_at FROM generate_series(0, {LANES - 1}) AS lanes (lane), LATERAL (
        SELECT due_at FROM {name}
         WHERE state IN ({table.states}) AND lane = lanes.lane AND due_at <= now() AND {free}
         ORDER BY due_at LIMIT 1) AS first)
SELECT count(*) FILTER (WHERE free) AS due, count(*) FILTER (WHERE NOT free) AS leased,
       (SELECT count(*) FROM (SELECT FROM {name} WHERE state = '{QUARANTINED}' LIMIT {MOST_COUNTED}) AS given_up)
           AS quarantined,
       (SELECT coalesce(greatest(extract(epoch FROM now() - due_at), 0), 0)::float8 FROM oldest) AS oldest_due_s
  FROM due"""  # noqa: S608 - constants of the program


class QueueSampler:
    """The last sample of each table, and its age."""

    def __init__(self, db: Db, tables: Sequence[WorkTable], metrics: Metrics, *, clock: Any) -> None:
        """``clock`` in seconds, monotonic."""
        self._db, self._metrics, self._clock = db, metrics, clock
        self._statements = {table.name: depth_statement(table) for table in tables}
        self._depths: dict[str, Depth] = {}
        self._at: float | None = None

    @property
    def behind(self) -> bool:
        """Whether somebody waits too long, or a row waits for a human."""
        return any(d.oldest_due_s > BEHIND_SECONDS or d.quarantined for d in self._depths.values())

    def report(self, now: float) -> Mapping[str, Any]:
        """For the health report; empty before the first sample."""
        age = None if self._at is None else round(now - self._at, 2)
        return {"age_s": age, "tables": {name: asdict(depth) for name, depth in self._depths.items()}}

    async def sample(self) -> None:
        """Look once. Raises DatabaseUnavailable."""
        for name, statement in self._statements.items():
            row = await self._db.fetchrow(statement)
            if row is None:
                raise AssertionError("an aggregate has one row")
            depth = self._depths[name] = Depth(**row)
            self._metrics.gauge("ccl_work_due", depth.due, name)
            self._metrics.gauge("ccl_work_leased", depth.leased, name)
            self._metrics.gauge("ccl_work_in_quarantine", depth.quarantined, name)
            self._metrics.gauge("ccl_work_oldest_due_seconds", depth.oldest_due_s, name)
        self._at = self._clock()

    async def run(self, stop: asyncio.Event) -> None:
        """Look until ``stop``; a database that is away costs samples, nothing else."""
        while not stop.is_set():
            try:
                await self.sample()
            except CclError as exc:
                log.warning("queues not sampled", action="queues:sample:missed", code=exc.code)
            try:
                await asyncio.wait_for(stop.wait(), SAMPLE_SECONDS)
            except TimeoutError:
                continue
