"""The history of metrics."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 6

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
