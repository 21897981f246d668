"""The database as its operators need to see it. Statements are shown by the name in their first comment, never by their
text, which may hold values.
"""

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from ccl_service.platform.db import Db

SLOW_SECONDS: Final = 1.0
MOST_ROWS: Final = 20
#: The name in "-- name: purpose"; null for statements that are not ours.
_NAME: Final = r"substring(query FROM '^\s*--\s*([A-Za-z0-9_]+):')"

CONNECTIONS_SQL: Final = """
-- database_connections: client connections by state, and what keeps old row versions alive
SELECT count(*) FILTER (WHERE state = 'active') AS active,
       count(*) FILTER (WHERE state = 'idle') AS idle,
       count(*) FILTER (WHERE state LIKE 'idle in transaction%') AS idle_in_transaction,
       count(*) AS total,
       current_setting('max_connections')::int AS max,
       coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8 AS longest_transaction_s,
       coalesce(extract(epoch FROM max(clock_timestamp() - xact_start) FILTER (WHERE backend_xmin IS NOT NULL)),
                0)::float8 AS longest_snapshot_s,
       coalesce(max(age(backend_xmin)), 0)::bigint AS oldest_snapshot_xids
  FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = current_database()"""

SLOW_SQL: Final = f"""
-- database_slow: statements that have been running for more than $1 seconds, longest first
SELECT pid, {_NAME} AS statement, extract(epoch FROM clock_timestamp() - query_start)::float8 AS seconds,
       wait_event_type, wait_event
  FROM pg_stat_activity
 WHERE backend_type = 'client backend' AND datname = current_database() AND state = 'active'
   AND pid <> pg_backend_pid() AND clock_timestamp() - query_start > make_interval(secs => $1::float8)
 ORDER BY query_start LIMIT {MOST_ROWS}"""  # noqa: S608 - constants of the program

# Everything is from statistics: sizes are those of the last vacuum or analyze, dead rows count as wide as live ones.
# Asking for a table's true size would wait for whoever holds a lock on it.
TABLES_SQL: Final = f"""
-- database_tables: the tables that waste the most space by their statistics
SELECT s.relname AS name, pages.bytes, n_live_tup AS live_rows, n_dead_tup AS dead_rows,
       round(n_dead_tup::numeric / greatest(n_live_tup + n_dead_tup, 1), 4)::float8 AS dead_ratio,
       (pages.bytes * (n_dead_tup::float8 / greatest(n_live_tup + n_dead_tup, 1)))::bigint AS dead_bytes,
       greatest(last_vacuum, last_autovacuum) AS vacuumed_at, greatest(last_analyze, last_autoanalyze) AS analyzed_at
  FROM pg_stat_user_tables AS s JOIN pg_class AS c ON c.oid = s.relid,
       LATERAL (SELECT c.relpages * current_setting('block_size')::bigint AS bytes) AS pages
 ORDER BY dead_bytes DESC, bytes DESC, name LIMIT {MOST_ROWS}"""  # noqa: S608

HAS_STATEMENTS_SQL: Final = """
-- database_has_statements: whether pg_stat_statements is installed and in reach
SELECT to_regclass('pg_stat_statements') IS NOT NULL"""

# Columns of version 1.8 and later (PostgreSQL 13).
STATEMENTS_SQL: Final = f"""
-- database_statements: where the database's time goes, by statement
SELECT {_NAME} AS statement, queryid::text AS query_id, calls, rows, total_exec_time AS total_ms,
       mean_exec_time AS mean_ms, max_exec_time AS max_ms
  FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
 ORDER BY total_exec_time DESC LIMIT {MOST_ROWS}"""  # noqa: S608


async def read_database(db: Db) -> Mapping[str, Any]:
    """Connections, slow statements, tables, and statements where ``pg_stat_statements`` is (else null).

    Raises DatabaseUnavailable.
    """
    connections = await db.fetchrow(CONNECTIONS_SQL)
    return {
        "connections": dict(connections) if connections else None,
        "slow": [dict(row) for row in await db.fetch(SLOW_SQL, SLOW_SECONDS)],
        "slow_threshold_s": SLOW_SECONDS,
        "tables": [dict(row) for row in await db.fetch(TABLES_SQL)],
        "statements": await _statements(db),
    }


async def _statements(db: Db) -> list[Mapping[str, Any]] | None:
    if not await db.fetchval(HAS_STATEMENTS_SQL):
        return None
    try:
        return [dict(row) for row in await db.fetch(STATEMENTS_SQL)]
    except asyncpg.PostgresError:
        # installed, but not preloaded or not for us
        return None
