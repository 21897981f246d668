"""The audit log and its seals."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 5

STATEMENTS: tuple[str, ...] = ()


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
