"""What the platform itself keeps: schema state, live instances, idempotency keys, the deployment's identity."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0001"
down_revision = None
branch_labels = ("expand",)
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 1

STATEMENTS = (
    """CREATE TABLE schema_state (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        epoch integer NOT NULL,
        min_compatible integer NOT NULL,
        updated_at timestamptz NOT NULL DEFAULT now()
    )""",
    "INSERT INTO schema_state (epoch, min_compatible) VALUES (0, 1)",
    """CREATE TABLE instances (
        pod text PRIMARY KEY,
        revision text NOT NULL,
        role text NOT NULL CHECK (role IN ('web', 'jobs', 'all')),
        started_at timestamptz NOT NULL DEFAULT now(),
        seen_at timestamptz NOT NULL DEFAULT now()
    ) WITH (fillfactor = 50)""",
    """CREATE TABLE idempotency_keys (
        principal text NOT NULL,
        route text NOT NULL,
        key text NOT NULL,
        body_sha256 bytea NOT NULL,
        status smallint NOT NULL,
        answer jsonb NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (principal, route, key)
    )""",
    "CREATE INDEX idempotency_keys_created ON idempotency_keys (created_at)",
    """CREATE TABLE deployment_identity (
        only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
        id text NOT NULL,
        bound_at timestamptz NOT NULL DEFAULT now()
    )""",
)


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
