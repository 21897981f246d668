"""What PostgreSQL would do with a statement when it may neither scan a whole table nor sort a bitmap's rows."""

from collections.abc import Sequence

from ccl_service.platform.db import Db


async def indexed_plan(db: Db, statement: str, values: Sequence[str]) -> str:
    """The plan as text, with ``values`` (as SQL) in place of $1, $2, …"""
    for number, value in reversed(list(enumerate(values, 1))):
        statement = statement.replace(f"${number}", value)
    async with db.transaction() as tx:
        for method in ("seqscan", "bitmapscan"):
            await tx.execute(f"SET LOCAL enable_{method} = off")
        return "\n".join(line[0] for line in await tx.fetch(f"EXPLAIN {statement}"))
