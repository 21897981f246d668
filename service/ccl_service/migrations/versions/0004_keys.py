"""Scoped API keys."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 4

# per_minute is the key's own limit. A revoked key stays for a while, so that its holder's calls can be told apart.
API_KEYS = """
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    scopes text[] NOT NULL,
    per_minute integer NOT NULL CHECK (per_minute > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
) WITH (fillfactor = 85)"""

LIST = "CREATE INDEX api_keys_list ON api_keys (created_at DESC, id DESC)"

# A key has several secrets while it is being rotated; valid_until ends the older ones. SHA-256 of 256 random bits
# needs neither salt nor stretching.
API_KEY_SECRETS = """
CREATE TABLE api_key_secrets (
    prefix text PRIMARY KEY,
    key_id uuid NOT NULL REFERENCES api_keys (id) ON DELETE CASCADE,
    hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz
)"""

SECRETS_OF_KEY = "CREATE INDEX api_key_secrets_key ON api_key_secrets (key_id)"

STATEMENTS: tuple[str, ...] = (API_KEYS, LIST, API_KEY_SECRETS, SECRETS_OF_KEY)


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
