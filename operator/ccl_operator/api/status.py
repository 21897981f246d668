"""The status of a CclDeployment: what is known, and the rollout's whole state. Same conventions as ``v1alpha1``.

Everything here survives the operator: a fresh process continues from it alone. Times are in UTC, whole seconds.
"""

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError

from ccl_operator.actions import Manifest
from ccl_operator.api.shape import Shape

Short = Annotated[str, Field(max_length=512)]
Message = Annotated[str, Field(max_length=4096)]
RevisionHash = Annotated[str, Field(max_length=10)]

Phase = Literal["Pending", "Progressing", "Ready", "Degraded", "Paused", "Stalled", "Deleting"]
RolloutPhase = Literal["Idle", "Preparing", "Migrating", "Starting", "Checking", "Switching", "Aborted"]
ConditionStatus = Literal["True", "False", "Unknown"]
MESSAGE_MAX: Final = 4096
#: Pods that are named; there may be more.
WAITING_MAX: Final = 20


class Condition(Shape):
    """As metav1.Condition."""

    type: Annotated[str, Field(max_length=63)] = Field(description="What it is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(max_length=1024)] = Field(description="Why, in one word for programs.")
    message: Message = Field(default="", description="Why, and what to do, for people.")
    observed_generation: int = Field(default=0, description="The generation of the specification that it speaks of.")
    last_transition_time: AwareDatetime = Field(description="When the status last changed.")


class StableRevision(Shape):
    """The revision that has the traffic."""

    revision: RevisionHash = Field(description="Its name.")
    image: Short = Field(description="Its image.")
    since: AwareDatetime = Field(description="When it took over.")


class Candidate(Shape):
    """The revision that wants it."""

    revision: RevisionHash = Field(description="Its name.")
    image: Short = Field(description="Its image.")


class Retiring(Shape):
    """A revision that lost the traffic; its pods go at ``at``."""

    revision: RevisionHash = Field(description="Its name.")
    at: AwareDatetime = Field(description="When its pods go.")


class Rollout(Shape):
    """Where a promotion stands."""

    phase: RolloutPhase = Field(default="Idle", description="Step of the promotion.")
    revision: RevisionHash = Field(default="", description="The candidate of this rollout.")
    image: Short = Field(default="", description="Image of the candidate.")
    generation: int | None = Field(default=None, description="The specification's, when this rollout was started.")
    started_at: AwareDatetime | None = Field(default=None, description="When this rollout began.")
    deadline: AwareDatetime | None = Field(default=None, description="When this phase is given up.")
    failing_since: AwareDatetime | None = Field(default=None, description="Since when a gate says no.")
    reason: Annotated[str, Field(max_length=63)] = Field(default="", description="Why it was aborted.")
    message: Message = Field(default="", description="Why it was aborted, and what to do.")
    retiring: Annotated[tuple[Retiring, ...], Field(max_length=10)] = Field(
        default=(), description="Revisions that lost the traffic and still run."
    )


class SchemaEpochs(Shape):
    """The state of the database's schema."""

    epoch: int = Field(description="The newest migration that has run.")
    min_compatible: int = Field(description="The oldest version that can work with it.")


class DatabaseServer(Shape):
    """The server behind the URL, as last reported."""

    version_num: int = Field(description="Version as PostgreSQL counts it, e.g. 170004.")
    max_connections: int = Field(description="Connections that it allows.")


class BackupStatus(Shape):
    """What is known of the backups."""

    last_success: AwareDatetime | None = Field(default=None, description="When the last good backup ended.")
    last_size: int | None = Field(default=None, description="Bytes.")
    location: Short | None = Field(default=None, description="Volume and id of the last good backup.")
    failures: int = Field(default=0, description="Failed backups since the last good one.")
    last_job: Annotated[str, Field(max_length=63)] | None = Field(
        default=None, description="UID of the last Job that was counted."
    )
    last_finished: AwareDatetime | None = Field(default=None, description="When that Job ended.")


class SecretsStatus(Shape):
    """The generated keys."""

    rotated_at: AwareDatetime | None = Field(default=None, description="When the newest key began to sign.")
    next_rotation: AwareDatetime | None = Field(default=None, description="When the next rotation begins by itself.")
    rotate: Annotated[str, Field(max_length=64)] = Field(
        default="", description="The value of spec.secrets.rotate that was last acted upon."
    )
    waiting_for: Annotated[tuple[Annotated[str, Field(max_length=253)], ...], Field(max_length=WAITING_MAX)] = Field(
        default=(), description="Pods that have not said yet that they hold the new keys."
    )


class Images(Shape):
    """Images in use beside the service's; kept over upgrades of the operator."""

    postgres: Short | None = Field(default=None, description="Of the embedded PostgreSQL.")
    redis: Short | None = Field(default=None, description="Of the embedded Redis.")
    pgbouncer: Short | None = Field(default=None, description="Of the connection pooler.")
    backup: Short | None = Field(default=None, description="Of the backup Jobs.")


class Status(Shape):
    """What is known."""

    observed_generation: int | None = Field(
        default=None, description="The generation of the specification that this speaks of."
    )
    phase: Phase | None = Field(default=None, description="One word for the state.")
    message: Message | None = Field(default=None, description="The most important thing to know.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=20)] = Field(
        default=(), description="Everything there is to know, as conditions."
    )
    endpoint: Short | None = Field(default=None, description="Address of the service in the cluster.")
    replicas: int | None = Field(default=None, description="Web pods of the stable revision.")
    ready_replicas: int | None = Field(default=None, description="Those of them that are ready.")
    selector: Short | None = Field(default=None, description="Labels of the stable web pods, for autoscaling.")
    stable: StableRevision | None = None
    candidate: Candidate | None = None
    rollout: Rollout = Rollout()
    schema_: SchemaEpochs | None = Field(default=None, alias="schema")
    database: DatabaseServer | None = None
    secrets: SecretsStatus | None = None
    backup: BackupStatus | None = None
    images: Images = Images()


def parse_status(owner: Manifest) -> Status:
    """The status of an object as stored; an empty one when there is none or it cannot be read."""
    try:
        return Status.model_validate(owner.get("status") or {})
    except ValidationError:
        # A status nobody can read is worth less than none: all of it is computed again.
        return Status()


def render_status(status: Status) -> Manifest:
    """As JSON for the status subresource: absent instead of null, and in rollout and secrets absent instead of
    empty."""
    rendered = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    for part in ("rollout", "secrets"):
        if part in rendered:
            rendered[part] = {key: value for key, value in rendered[part].items() if value not in ("", [])}
    return rendered


def whole_second(moment: datetime) -> datetime:
    """Times in a status have whole seconds: what is read back equals what was written."""
    return moment.astimezone(UTC).replace(microsecond=0)
