"""The database schema as a chain of revisions, each marked Expand or Contract.

A revision module holds ``revision``, ``down_revision``, ``KIND`` (MigrationKind), ``EPOCH`` (an Expand: the epoch the
database has afterwards) or ``MIN_COMPATIBLE`` (a Contract: the oldest epoch that still works), and ``upgrade()``,
which calls ``run(STATEMENTS)`` with one statement each, because asyncpg takes one statement per execute.
"""

from collections.abc import Iterable
from typing import Final

#: The epoch this version was built for: the EPOCH of the newest Expand.
OWN_EPOCH: Final = 7


def run(statements: Iterable[str]) -> None:
    """Execute each statement as it stands; a colon or percent sign in it means nothing special."""
    from alembic import op  # noqa: PLC0415 - serve reads OWN_EPOCH and has no use for alembic's import time

    connection = op.get_bind()
    for statement in statements:
        connection.exec_driver_sql(statement)
