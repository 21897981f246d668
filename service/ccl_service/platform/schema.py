"""Whether a database fits this version. Applying migrations is ``platform.migrate``."""

from dataclasses import dataclass
from typing import Final

import asyncpg

from ccl_contract.schema import Database, SchemaState
from ccl_service.migrations import OWN_EPOCH
from ccl_service.platform.db import Db

SCHEMA_STATE: Final = """
-- schema_state: the epochs of this database, and what kind of server it is
SELECT epoch, min_compatible, current_setting('server_version_num')::int AS version_num,
       current_setting('max_connections')::int AS max_connections
  FROM schema_state"""


@dataclass(frozen=True, slots=True)
class SchemaFacts:
    """What one look at the database tells."""

    schema: SchemaState
    database: Database


async def read_facts(db: Db) -> SchemaFacts | None:
    """The schema's state; None when no migration has ever run. Raises DatabaseUnavailable."""
    try:
        row = await db.fetchrow(SCHEMA_STATE)
    except asyncpg.UndefinedTableError:
        return None
    if row is None:
        return None
    return SchemaFacts(
        SchemaState(own=OWN_EPOCH, epoch=row["epoch"], min_compatible=row["min_compatible"]),
        Database(version_num=row["version_num"], max_connections=row["max_connections"]),
    )
