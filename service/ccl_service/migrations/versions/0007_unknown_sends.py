"""What settles sends of unknown outcome, and the tokens of webhooks that were taken."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 7

# A signature covers timestamp and token but not the event, so a token seen once proves nothing more.
WEBHOOK_TOKENS = """
CREATE TABLE webhook_tokens (
    token_hash bytea PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
)"""

STATEMENTS: tuple[str, ...] = (
    # The provider's account that was asked: only its log can prove that a send was never taken.
    "ALTER TABLE sends ADD COLUMN via text",
    "CREATE INDEX sends_unknown ON sends (due_at) WHERE state = 'unknown'",
    "CREATE INDEX sends_undecided ON sends (due_at) WHERE state = 'failed' AND reason = 'unknown'",
    WEBHOOK_TOKENS,
    "CREATE INDEX webhook_tokens_seen ON webhook_tokens (seen_at)",
)


def upgrade() -> None:
    """Create the column, the table and their indexes."""
    run(STATEMENTS)
