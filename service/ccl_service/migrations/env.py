"""Alembic's entry point. The caller (``platform.schema``) hands the connection over; nothing is read from files."""

from typing import Any

from alembic import context
from sqlalchemy import text

from ccl_contract.schema import MigrationKind

#: A migration gives up rather than queue every request behind a lock it waits for.
LOCK_TIMEOUT = "5s"
STATEMENT_TIMEOUT = "15min"


def record_epoch(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:  # noqa: ARG001 - alembic's signature
    """Write what the applied revision means for older versions, in the revision's own transaction."""
    module = step.up_revision.module
    if module.KIND is MigrationKind.EXPAND:
        ctx.connection.execute(
            text("UPDATE schema_state SET epoch = greatest(epoch, :n), updated_at = now()"), {"n": module.EPOCH}
        )
    else:
        ctx.connection.execute(
            text("UPDATE schema_state SET min_compatible = greatest(min_compatible, :n), updated_at = now()"),
            {"n": module.MIN_COMPATIBLE},
        )


def run() -> None:
    """Apply what the command asks for, one transaction per revision."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, transaction_per_migration=True, on_version_apply=record_epoch)
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"SET statement_timeout = '{STATEMENT_TIMEOUT}'")
    connection.commit()
    with context.begin_transaction():
        context.run_migrations()


run()
