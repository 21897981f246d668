"""Whether the data still adds up: one table of checks. Each looks, none mends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

#: A count stops here: "more than a thousand" is as good a reason to look as the number.
MOST_COUNTED: Final = 1000

#: The states that the features know. The tables' CHECK constraints say the same; see the test of this module.
STATES: Final[Mapping[str, tuple[str, ...]]] = {
    "leads": (
        "new",
        "contacted",
        "engaged",
        "qualified",
        "submitted",
        "accepted",
        "rejected",
        "closed",
        "unreachable",
        "opted_out",
    ),
    "sends": (
        "queued",
        "sending",
        "unknown",
        "accepted",
        "delivered",
        "bounced",
        "complained",
        "failed",
        "suppressed",
        "cancelled",
        "quarantined",
    ),
    "turns": ("queued", "done", "quarantined"),
    "imports": ("receiving", "queued", "done", "failed", "quarantined"),
    "conversations": ("open", "handed_off", "closed"),
}
#: Tables of work, the states in which a worker claims them, and when a row waits with good reason.
WORK: Final = (
    ("sends", "'queued', 'sending'", "held IS NOT NULL"),
    ("turns", "'queued'", "false"),
    ("imports", "'queued'", "false"),
)


@dataclass(frozen=True, slots=True)
class Check:
    """``rows`` is a SELECT of the rows that should not be there; ``finding`` says what that means and what to do."""

    name: str
    rows: str
    finding: str

    @property
    def count(self) -> str:
        """How many there are, at most ``MOST_COUNTED`` + 1."""
        return f"""
-- integrity {self.name}
SELECT count(*) FROM ({self.rows} LIMIT {MOST_COUNTED + 1}) AS found"""  # noqa: S608 - constants of the program


def _of_states() -> Iterator[Check]:
    for table, states in STATES.items():
        known = ", ".join(f"'{state}'" for state in states)
        yield Check(
            f"{table}-states",
            f"SELECT FROM {table} WHERE state NOT IN ({known})",
            f"{table} in a state that no version knows: was a CHECK constraint dropped?",
        )


def _of_work() -> Iterator[Check]:
    for table, claimable, waits in WORK:
        yield Check(
            f"{table}-quarantined",
            f"SELECT FROM {table} WHERE state = 'quarantined'",
            f"{table} that five claims did not bring to an end wait for a person",
        )
        yield Check(
            f"{table}-leases",
            f"SELECT FROM {table} WHERE state IN ({claimable}) AND lease_until < now() - interval '1 hour'",
            f"{table} whose lease ran out more than an hour ago: does a process with jobs run?",
        )
        yield Check(
            f"{table}-overdue",
            f"SELECT FROM {table} WHERE state IN ({claimable}) AND due_at < now() - interval '1 hour'"
            f" AND lease_until IS NULL AND NOT ({waits})",
            f"{table} due for more than an hour and claimed by nobody: does a process with jobs run?",
        )


CHECKS: Final = (
    Check(
        "leads-without-identity",
        "SELECT FROM leads WHERE (email IS NOT NULL AND NOT EXISTS"
        " (SELECT FROM lead_keys WHERE lead_id = leads.id AND kind = 'email'))"
        " OR NOT EXISTS (SELECT FROM lead_keys WHERE lead_id = leads.id)",
        "leads that no later request can find again: their identities are missing",
    ),
    Check(
        "leads-sharing-an-address",
        "SELECT FROM leads WHERE email IS NOT NULL GROUP BY lower(email) HAVING count(*) > 1",
        "addresses that more than one lead holds",
    ),
    Check(
        "leads-without-history",
        "SELECT FROM leads WHERE NOT EXISTS (SELECT FROM lead_events WHERE lead_id = leads.id)",
        "leads whose timeline is empty, not even telling of their creation",
    ),
    Check(
        "sends-of-another-lead",
        "SELECT FROM sends JOIN enrolments ON enrolments.id = sends.enrolment_id"
        " WHERE sends.lead_id <> enrolments.lead_id",
        "sends that belong to another lead than their enrolment",
    ),
    Check(
        "turns-without-message",
        "SELECT FROM turns WHERE NOT EXISTS (SELECT FROM messages WHERE speaker = 'visitor'"
        " AND messages.conversation_id = turns.conversation_id AND messages.turn = turns.turn)",
        "turns that answer a message which is not there",
    ),
    Check(
        "chunks-of-finished-imports",
        "SELECT FROM import_chunks JOIN imports ON imports.id = import_id WHERE state IN ('done', 'failed')",
        "pieces of uploaded files whose import is over: they hold personal data",
    ),
    Check(
        "constraints-not-validated",
        "SELECT FROM pg_constraint WHERE NOT convalidated AND connamespace = current_schema()::regnamespace",
        "constraints that were never checked against the rows that were there before: VALIDATE CONSTRAINT",
    ),
    Check(
        "indexes-invalid",
        "SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace",
        "indexes that a broken CREATE INDEX CONCURRENTLY left behind: drop and create them again",
    ),
    Check(
        "audit-unsealed",
        "SELECT FROM audit_log WHERE seq IS NULL AND at < now() - interval '15 minutes'",
        "audit rows that were not sealed for a quarter of an hour: does a process with jobs run?",
    ),
    *_of_states(),
    *_of_work(),
)
