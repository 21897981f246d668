"""Conversations with messages, turns and their segments; the runs of agents."""

from ccl_contract.schema import MigrationKind
from ccl_service.migrations import run

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KIND = MigrationKind.EXPAND
EPOCH = 3

# control_epoch grows when the conversation is closed: a sentence of an older epoch is never shown any more.
CONVERSATIONS = """
CREATE TABLE conversations (
    id uuid PRIMARY KEY,
    lead_id uuid REFERENCES leads (id) ON DELETE CASCADE,
    send_id uuid,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'handed_off', 'closed')),
    control_epoch integer NOT NULL DEFAULT 0,
    turns integer NOT NULL DEFAULT 0,
    phone_given boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 85)"""

# turn 0 is the greeting; a turn has one message of the visitor and at most one of the agent.
MESSAGES = """
CREATE TABLE messages (
    conversation_id uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn integer NOT NULL,
    speaker text NOT NULL CHECK (speaker IN ('visitor', 'agent')),
    text text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (conversation_id, turn, speaker)
)"""

TURNS = """
CREATE TABLE turns (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    turn integer NOT NULL,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'done', 'quarantined')),
    lane smallint NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    claims smallint NOT NULL DEFAULT 0,
    attempts smallint NOT NULL DEFAULT 0,
    claim_id uuid,
    lease_until timestamptz,
    action text CHECK (action IN ('continue', 'handoff', 'close')),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    UNIQUE (conversation_id, turn)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)"""

TURN_SEGMENTS = """
CREATE TABLE turn_segments (
    turn_id uuid NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    seq smallint NOT NULL,
    text text NOT NULL,
    PRIMARY KEY (turn_id, seq)
)"""

# Side effects a turn has had: a turn that is worked again does not have them again.
TURN_EFFECTS = """
CREATE TABLE turn_effects (
    turn_id uuid NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
    effect text NOT NULL,
    PRIMARY KEY (turn_id, effect)
)"""

AGENT_RUNS = """
CREATE TABLE agent_runs (
    id uuid PRIMARY KEY,
    agent text NOT NULL,
    turn_id uuid REFERENCES turns (id) ON DELETE SET NULL,
    lead_id uuid REFERENCES leads (id) ON DELETE SET NULL,
    outcome text NOT NULL,
    model text,
    prompt_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    usage_estimated boolean NOT NULL,
    cost_micro_usd bigint,
    tools text[] NOT NULL,
    error text,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL
)"""

STATEMENTS = (
    CONVERSATIONS,
    "CREATE INDEX conversations_lead ON conversations (lead_id) WHERE lead_id IS NOT NULL",
    MESSAGES,
    TURNS,
    "CREATE INDEX turns_due ON turns (lane, due_at) WHERE state IN ('queued')",
    TURN_SEGMENTS,
    TURN_EFFECTS,
    AGENT_RUNS,
    "CREATE INDEX agent_runs_turn ON agent_runs (turn_id)",
    "CREATE INDEX agent_runs_lead ON agent_runs (lead_id)",
    "CREATE INDEX agent_runs_started ON agent_runs (started_at)",
)


def upgrade() -> None:
    """Create the tables."""
    run(STATEMENTS)
