"""The history of metrics, what each live process answered lately, and indexes over rows that wait for a human."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 6

# One row per process and minute; "values" maps a metric to its number, "latency" is [[bucket, count], ...].
METRICS_HISTORY = """
CREATE TABLE metrics_history (
    at timestamptz NOT NULL,
    pod text NOT NULL,
    revision text NOT NULL,
    values jsonb NOT NULL,
    latency jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (at, pod)
)"""

# Rewritten every ten seconds and worth nothing after a crash, so that it stays out of the write-ahead log.
INSTANCE_PERFORMANCE = """
CREATE UNLOGGED TABLE instance_performance (
    pod text PRIMARY KEY REFERENCES instances (pod) ON DELETE CASCADE,
    at timestamptz NOT NULL,
    windows jsonb NOT NULL
) WITH (fillfactor = 50)"""

STATEMENTS = (
    METRICS_HISTORY,
    INSTANCE_PERFORMANCE,
    "CREATE INDEX sends_quarantined ON sends (due_at) WHERE state = 'quarantined'",
    "CREATE INDEX turns_quarantined ON turns (due_at) WHERE state = 'quarantined'",
    "CREATE INDEX imports_quarantined ON imports (due_at) WHERE state = 'quarantined'",
)


def upgrade() -> None:
    """Create the tables and the indexes."""
    run(STATEMENTS)
