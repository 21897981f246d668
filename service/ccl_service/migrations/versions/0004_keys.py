"""Scoped API keys."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 4

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
