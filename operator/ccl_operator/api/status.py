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


class Condition(Shape):
    """As metav1.Condition."""

    type: Annotated[str, Field(max_length=63)]
    status: ConditionStatus
    reason: Annotated[str, Field(max_length=1024)]
    message: Message = ""
    observed_generation: int = 0
    last_transition_time: AwareDatetime


class StableRevision(Shape):
    """The revision that has the traffic."""

    revision: RevisionHash
    image: Short
    since: AwareDatetime = Field(description="When it took over.")


class Candidate(Shape):
    """The revision that wants it."""

    revision: RevisionHash
    image: Short


class Retiring(Shape):
    """A revision that lost the traffic; its pods go at ``at``."""

    revision: RevisionHash
    at: AwareDatetime


class Rollout(Shape):
    """Where a promotion stands."""

    phase: RolloutPhase = "Idle"
    revision: RevisionHash = Field(default="", description="The candidate of this rollout.")
    image: Short = ""
    generation: int | None = Field(default=None, description="The specification's, when this rollout was started.")
    started_at: AwareDatetime | None = None
    deadline: AwareDatetime | None = Field(default=None, description="When this phase is given up.")
    failing_since: AwareDatetime | None = Field(default=None, description="Since when a gate says no.")
    reason: Annotated[str, Field(max_length=63)] = Field(default="", description="Why it was aborted.")
    message: Message = ""
    retiring: Annotated[tuple[Retiring, ...], Field(max_length=10)] = ()


class SchemaEpochs(Shape):
    """The state of the database's schema."""

    epoch: int
    min_compatible: int


class DatabaseServer(Shape):
    """The server behind the URL, as last reported."""

    version_num: int
    max_connections: int


class BackupStatus(Shape):
    """What is known of the backups."""

    last_success: AwareDatetime | None = None
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


class Images(Shape):
    """Images in use beside the service's; kept over upgrades of the operator."""

    postgres: Short | None = None
    redis: Short | None = None
    pgbouncer: Short | None = None
    backup: Short | None = None


class Status(Shape):
    """What is known."""

    observed_generation: int | None = None
    phase: Phase | None = None
    message: Message | None = None
    conditions: Annotated[tuple[Condition, ...], Field(max_length=20)] = ()
    endpoint: Short | None = None
    replicas: int | None = None
    ready_replicas: int | None = None
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
    """As JSON for the status subresource: absent instead of null, and in the rollout absent instead of empty."""
    rendered = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    rendered["rollout"] = {key: value for key, value in rendered["rollout"].items() if value not in ("", [])}
    return rendered


def whole_second(moment: datetime) -> datetime:
    """Times in a status have whole seconds: what is read back equals what was written."""
    return moment.astimezone(UTC).replace(microsecond=0)
