"""What the planner knows and what autovacuum has left: ANALYZE where it is due, advice where a person decides."""

from dataclasses import dataclass
from typing import Final

from ccl_service.platform.db import Db

#: Rows changed since the last ANALYZE, as a share and as a number, above which it is due. Twice autovacuum's own.
CHANGED_SHARE: Final = 0.2
CHANGED_ROWS: Final = 1000
DEAD_SHARE: Final = 0.2
DEAD_ROWS: Final = 10_000
#: Of two billion transactions until PostgreSQL stops taking writes. Autovacuum acts at 200 million.
XID_AGE: Final = 500_000_000

ANALYZE_DUE: Final = """
-- analyze_due: tables whose statistics are missing or old
SELECT relname FROM pg_stat_user_tables
 WHERE schemaname = current_schema()
   AND (n_mod_since_analyze > $1 + $2 * n_live_tup
        OR (last_analyze IS NULL AND last_autoanalyze IS NULL AND n_live_tup > $1))
 ORDER BY relname"""

VACUUM_DUE: Final = """
-- vacuum_due: tables with many dead rows, which autovacuum should have taken away
SELECT relname, n_dead_tup AS dead, n_live_tup AS live FROM pg_stat_user_tables
 WHERE schemaname = current_schema() AND n_dead_tup > $1 AND n_dead_tup > $2 * (n_live_tup + n_dead_tup)
 ORDER BY n_dead_tup DESC"""

OLDEST_XID: Final = """
-- oldest_xid: how many transactions old the oldest row that is not frozen may be
SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()"""


@dataclass(frozen=True, slots=True)
class Dead:
    """A table and its dead rows."""

    table: str
    dead: int
    live: int


async def analyze_due(db: Db) -> list[str]:
    """Tables to analyse, by name."""
    return [row["relname"] for row in await db.fetch(ANALYZE_DUE, CHANGED_ROWS, CHANGED_SHARE)]


async def analyze(db: Db, table: str, *, timeout: float) -> None:
    """ANALYZE one table, a name from ``analyze_due``."""
    await db.execute(f'ANALYZE "{table}"', timeout=timeout)


async def vacuum_hints(db: Db) -> list[str]:
    """Advice, one line each; empty when autovacuum keeps up."""
    dead = [Dead(row["relname"], row["dead"], row["live"]) for row in await db.fetch(VACUUM_DUE, DEAD_ROWS, DEAD_SHARE)]
    hints = [f"VACUUM (ANALYZE) {one.table}: {one.dead} dead beside {one.live} live rows" for one in dead]
    age = await db.fetchval(OLDEST_XID)
    if age > XID_AGE:
        hints.append(f"VACUUM (FREEZE): the oldest transaction is {age} back; what holds autovacuum up?")
    return hints
