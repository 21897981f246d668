"""How long each kind of row is kept: one table, and the statements made from it.

Absent on purpose: ``suppressions`` (an address that must not be written to is never forgotten), ``audit_log`` and its
seals (a chain has no end to cut off), ``lead_keys``, ``lead_events`` and ``enrolments`` (they go with their lead:
whoever is enrolled once must not be enrolled again because a row grew old).
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Retention:
    """Rows of ``table`` go when every column of ``ages`` lies further back than ``keep`` and ``guard`` holds.

    The first of ``ages`` has an index, or the table is small. ``batch`` rows go in one transaction. ``audited``: the
    audit trail says how many went, because they were about people or permissions.
    All fields are constants of the program (they become SQL text), never input.
    """

    name: str
    table: str
    ages: tuple[str, ...]
    keep: str
    batch: int = 1000
    guard: str = "true"
    audited: bool = False

    @property
    def condition(self) -> str:
        """Which rows go, as SQL. A column that is NULL keeps its row."""
        past = (f"{self.table}.{column} < now() - interval '{self.keep}'" for column in self.ages)
        return " AND ".join((*past, f"({self.guard})"))

    @property
    def purge(self) -> str:
        """Deletes at most $1 rows from the age $2 (NULL: the oldest) on; tells how many, and the age of the last.

        The next batch begins at that age: an open snapshot keeps the index entries of what is gone, and walking them
        from the start each time would take ever longer. A row that somebody holds stays for the next run.
        """
        table, age = self.table, self.ages[0]
        return f"""
-- retention {self.name}: at most $1 rows older than {self.keep}, from the age $2 on
WITH gone AS (
    DELETE FROM {table} WHERE ctid = ANY (ARRAY (
        SELECT ctid FROM {table}
         WHERE {self.condition} AND {table}.{age} >= COALESCE($2::timestamptz, '-infinity')
         ORDER BY {age} LIMIT $1 FOR UPDATE SKIP LOCKED))
    RETURNING {age} AS age)
SELECT count(*) AS rows, max(age)::timestamptz AS age FROM gone"""  # noqa: S608 - constants of the program

    @property
    def count(self) -> str:
        """How many rows are due to go."""
        return f"""
-- retention {self.name}: how many are older than {self.keep}
SELECT count(*) FROM {self.table} WHERE {self.condition}"""  # noqa: S608


#: In this order: what depends on others goes before them, so that fewer rows go in one cascade.
RULES: Final = (
    Retention(
        "chat",
        "conversations",
        ("created_at", "last_at"),
        "30 days",
        batch=200,
        guard="NOT EXISTS (SELECT FROM turns WHERE conversation_id = conversations.id AND lease_until > now())",
        audited=True,
    ),
    Retention("agent-runs", "agent_runs", ("started_at",), "90 days", audited=True),
    Retention("mail-events", "send_events", ("day",), "6 months", batch=2000, audited=True),
    Retention(
        "mail",
        "sends",
        ("created_at",),
        "6 months",
        # what has not come to an end yet waits for a person, however old it is
        guard="state NOT IN ('queued', 'sending', 'unknown', 'quarantined')",
        audited=True,
    ),
    Retention(
        "leads",
        "leads",
        ("created_at", "updated_at"),
        "24 months",
        batch=100,
        guard="NOT EXISTS (SELECT FROM lead_events WHERE lead_id = leads.id AND at >= now() - interval '24 months')",
        audited=True,
    ),
    # due when the newest piece of the file came: a slow sender's is no old one
    Retention("imports-unfinished", "imports", ("due_at",), "1 day", guard="state = 'receiving'", batch=10),
    Retention("imports", "imports", ("created_at",), "90 days", guard="state <> 'queued'", batch=10, audited=True),
    Retention("idempotency-keys", "idempotency_keys", ("created_at",), "24 hours", batch=5000),
    # a signature counts for nine hours
    Retention("webhook-tokens", "webhook_tokens", ("seen_at",), "1 day", batch=5000),
    Retention("key-secrets", "api_key_secrets", ("valid_until",), "30 days"),
    Retention("keys-expired", "api_keys", ("expires_at",), "90 days", audited=True),
    Retention("keys-revoked", "api_keys", ("revoked_at",), "90 days", audited=True),
    Retention("instances", "instances", ("seen_at",), "1 day"),
    Retention("metrics-history", "metrics_history", ("at",), "30 days", batch=5000),
)
