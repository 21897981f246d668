"""The audit log and its seals; indexes that retention walks."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 5

# A row is written unchained by the call that it tells of; seq, hash and proven are the sealer's, once.
AUDIT_LOG = """
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event uuid NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    principal_kind text NOT NULL,
    principal_id text NOT NULL,
    key_id text,
    request_id text,
    client text,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    objects bigint NOT NULL DEFAULT 1 CHECK (objects >= 0),
    changes jsonb NOT NULL DEFAULT '{}',
    mac_key text NOT NULL,
    mac bytea NOT NULL,
    seq bigint UNIQUE,
    hash bytea,
    proven boolean,
    CHECK ((seq IS NULL) = (hash IS NULL) AND (seq IS NULL) = (proven IS NULL))
)"""

AUDIT_SEALS = """
CREATE TABLE audit_seals (
    batch bigint PRIMARY KEY,
    last_seq bigint NOT NULL,
    head bytea NOT NULL,
    continues boolean NOT NULL,
    sealed_at timestamptz NOT NULL,
    mac_key text NOT NULL,
    mac bytea NOT NULL
)"""

# Where the chain ends, under a MAC of its own kind and overwritten by each batch: whoever cuts off the tail of the
# two tables above finds nothing in them to put here.
AUDIT_STATE = """
CREATE TABLE audit_state (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    batch bigint NOT NULL,
    last_seq bigint NOT NULL,
    head bytea NOT NULL,
    mac_key text,
    mac bytea
) WITH (fillfactor = 50)"""

# A fence against slips, not against a superuser; what a superuser changes, the chain shows.
APPEND_ONLY = """
CREATE FUNCTION audit_append_only_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND TG_TABLE_NAME = 'audit_log' THEN
        IF to_jsonb(OLD)->>'seq' IS NULL AND to_jsonb(NEW)->>'seq' IS NOT NULL
           AND to_jsonb(NEW) - '{seq,hash,proven}'::text[] = to_jsonb(OLD) - '{seq,hash,proven}'::text[] THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END
$$"""


def _fence(table: str) -> tuple[str, str]:
    return (
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION audit_append_only_v1()",
        f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only_v1()",
    )


STATEMENTS: tuple[str, ...] = (
    AUDIT_LOG,
    "CREATE INDEX audit_log_unsealed ON audit_log (id) WHERE seq IS NULL",
    "CREATE INDEX audit_log_object ON audit_log (object_kind, object_id, id)",
    "CREATE INDEX audit_log_action ON audit_log (action, id)",
    "CREATE INDEX audit_log_principal ON audit_log (principal_kind, principal_id, id)",
    AUDIT_SEALS,
    AUDIT_STATE,
    # 'ccl/audit/v1' hashed: what the first row is chained to
    "INSERT INTO audit_state (batch, last_seq, head) VALUES (0, 0, sha256('ccl/audit/v1'))",
    APPEND_ONLY,
    *_fence("audit_log"),
    *_fence("audit_seals"),
    "CREATE INDEX conversations_created ON conversations (created_at)",
    "CREATE INDEX sends_created ON sends (created_at)",
    "CREATE INDEX send_events_day ON send_events (day)",
)


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
