"""Leads with identities, timeline and imports; enrolments, sends, their events, suppressions."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 2

LEADS = """
CREATE TABLE leads (
    id uuid PRIMARY KEY,
    state text NOT NULL DEFAULT 'new' CHECK (state IN ('new', 'contacted', 'engaged', 'qualified', 'submitted',
        'accepted', 'rejected', 'closed', 'unreachable', 'opted_out')),
    source text NOT NULL CHECK (source IN ('api', 'upload', 'chat', 'dealer_webhook', 'abandonment')),
    external_id text,
    first_name text NOT NULL,
    last_name text,
    email text,
    phone text,
    zip text,
    vehicle_interest text,
    finance jsonb NOT NULL DEFAULT '{}',
    consent jsonb,
    requested_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK (email IS NOT NULL OR phone IS NOT NULL)
) WITH (fillfactor = 85)"""

LEAD_KEYS = """
CREATE TABLE lead_keys (
    kind text NOT NULL CHECK (kind IN ('email', 'phone')),
    value_hash bytea NOT NULL,
    lead_id uuid NOT NULL REFERENCES leads (id) ON DELETE CASCADE,
    PRIMARY KEY (kind, value_hash)
)"""

LEAD_EVENTS = """
CREATE TABLE lead_events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lead_id uuid NOT NULL REFERENCES leads (id) ON DELETE CASCADE,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    actor text NOT NULL,
    reason text,
    data jsonb NOT NULL DEFAULT '{}'
)"""

# Rows go only with their lead (erasure, retention); no statement may rewrite history.
APPEND_ONLY = """
CREATE FUNCTION lead_events_append_only_v1() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'lead_events is append-only';
END
$$"""

ENROLMENTS = """
CREATE TABLE enrolments (
    id uuid PRIMARY KEY,
    sequence text NOT NULL,
    lead_id uuid NOT NULL REFERENCES leads (id) ON DELETE CASCADE,
    occasion text NOT NULL,
    requested_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (sequence, lead_id, occasion)
)"""

# Narrow and rewritten often: room on each page for updates that touch no index.
SENDS = """
CREATE TABLE sends (
    id uuid PRIMARY KEY,
    enrolment_id uuid NOT NULL REFERENCES enrolments (id) ON DELETE CASCADE,
    step smallint NOT NULL,
    lead_id uuid NOT NULL REFERENCES leads (id) ON DELETE CASCADE,
    address_hash bytea NOT NULL,
    state text NOT NULL CHECK (state IN ('queued', 'sending', 'unknown', 'accepted', 'delivered', 'bounced',
        'complained', 'failed', 'suppressed', 'cancelled', 'quarantined')),
    lane smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    claims smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    lease_until timestamptz,
    held text,
    reason text,
    provider_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    opened_at timestamptz,
    clicked_at timestamptz,
    UNIQUE (enrolment_id, step, lead_id),
    UNIQUE (enrolment_id, step, address_hash)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)"""

SEND_EVENTS = """
CREATE TABLE send_events (
    event_id text NOT NULL,
    day date NOT NULL,
    send_id uuid NOT NULL REFERENCES sends (id) ON DELETE CASCADE,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (event_id, day)
)"""

# No reference to the lead: a suppression outlives the person's erasure.
SUPPRESSIONS = """
CREATE TABLE suppressions (
    kind text NOT NULL CHECK (kind IN ('email', 'phone')),
    value_hash bytea NOT NULL,
    scope text NOT NULL DEFAULT 'all',
    reason text NOT NULL CHECK (reason IN ('bounce', 'complaint', 'unsubscribe', 'opt_out', 'manual')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, value_hash, scope)
)"""

IMPORTS = """
CREATE TABLE imports (
    id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('receiving', 'queued', 'done', 'failed', 'quarantined')),
    lane smallint NOT NULL DEFAULT 1,
    due_at timestamptz NOT NULL DEFAULT now(),
    claims smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    lease_until timestamptz,
    reason text,
    columns text[],
    position bigint NOT NULL DEFAULT 0,
    rows integer NOT NULL DEFAULT 0,
    accepted integer NOT NULL DEFAULT 0,
    duplicates integer NOT NULL DEFAULT 0,
    rejected integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
)"""

# The staged file; deleted when the import is done. "position" is the offset of the first byte.
IMPORT_CHUNKS = """
CREATE TABLE import_chunks (
    import_id uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    position bigint NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (import_id, position)
)"""

IMPORT_ERRORS = """
CREATE TABLE import_errors (
    import_id uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    row integer NOT NULL,
    field text NOT NULL,
    code text NOT NULL,
    PRIMARY KEY (import_id, row, field, code)
)"""

STATEMENTS = (
    LEADS,
    "CREATE INDEX leads_newest ON leads (created_at DESC, id DESC)",
    "CREATE INDEX leads_by_state ON leads (state, created_at DESC, id DESC)",
    LEAD_KEYS,
    "CREATE INDEX lead_keys_lead ON lead_keys (lead_id)",
    LEAD_EVENTS,
    "CREATE INDEX lead_events_timeline ON lead_events (lead_id, id)",
    APPEND_ONLY,
    "CREATE TRIGGER lead_events_append_only BEFORE UPDATE ON lead_events"
    " FOR EACH ROW EXECUTE FUNCTION lead_events_append_only_v1()",
    ENROLMENTS,
    "CREATE INDEX enrolments_lead ON enrolments (lead_id)",
    SENDS,
    "CREATE INDEX sends_due ON sends (lane, due_at) WHERE state IN ('queued', 'sending')",
    "CREATE INDEX sends_lead ON sends (lead_id)",
    "CREATE INDEX sends_provider ON sends (provider_id) WHERE provider_id IS NOT NULL",
    SEND_EVENTS,
    "CREATE INDEX send_events_send ON send_events (send_id)",
    SUPPRESSIONS,
    IMPORTS,
    "CREATE INDEX imports_due ON imports (lane, due_at) WHERE state IN ('queued')",
    IMPORT_CHUNKS,
    IMPORT_ERRORS,
)


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
