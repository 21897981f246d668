"""What the routes of the audit trail take and answer. Pure."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ccl_service.platform.fields import CleanText, Count, Instant, RowNumber

MOST_PER_PAGE: Final = 200

_Text = Annotated[CleanText, Field(min_length=1, max_length=200)]
_Digest = Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015"])]
_Hash = Annotated[str, Field(examples=["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"])]
_KeyId = Annotated[str, Field(examples=["static"])]


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuditQuery(_Query):
    """Filters; all of them must match. ``after`` continues a page."""

    action: Annotated[_Text, Field(examples=["key:created"])] | None = None
    object_kind: Annotated[_Text, Field(examples=["key"])] | None = None
    object_id: Annotated[_Text, Field(examples=["0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11"])] | None = None
    principal_kind: Annotated[_Text, Field(examples=["root"])] | None = None
    principal_id: Annotated[_Text, Field(examples=["internal-api"])] | None = None
    request_id: Annotated[_Text, Field(examples=["5f0c8a4f2a8b4c6f9f3d1e2b7a6c5d4e"])] | None = None
    since: Instant | None = None
    until: Instant | None = None
    after: RowNumber | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 50


class ExportQuery(_Query):
    """Which part: places above ``after``, within a time."""

    after: RowNumber = 0
    since: Instant | None = None
    until: Instant | None = None


class AuditRow(BaseModel):
    """One change. ``changes`` maps field names to keyed digests of the new values; ``client`` is one of an address.

    ``seq`` and ``hash`` are null until the row is sealed, a few seconds after it was written.
    """

    id: Annotated[int, Field(examples=[42])]
    event: UUID
    at: datetime
    principal_kind: Annotated[str, Field(examples=["root"])]
    principal_id: Annotated[str, Field(examples=["internal-api"])]
    key_id: _KeyId | None
    request_id: Annotated[str, Field(examples=["5f0c8a4f2a8b4c6f9f3d1e2b7a6c5d4e"])] | None
    client: _Digest | None
    action: Annotated[str, Field(examples=["key:created"])]
    object_kind: Annotated[str, Field(examples=["key"])]
    object_id: Annotated[str, Field(examples=["0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11"])]
    objects: Annotated[int, Field(examples=[1])]
    changes: dict[str, _Digest]
    mac_key: _KeyId
    mac: _Hash
    seq: Annotated[int, Field(examples=[40])] | None
    hash: _Hash | None
    proven: bool | None


class AuditPage(BaseModel):
    """Rows, newest first; ``next`` continues, null at the end."""

    items: list[AuditRow]
    next: Annotated[str, Field(examples=["42"])] | None


class AuditHead(BaseModel):
    """The chain's end. ``head`` is what ``ccl-service audit verify --expect-head`` takes: keep it elsewhere."""

    v: Literal[1] = 1
    batch: Annotated[int, Field(examples=[7])]
    seq: Annotated[int, Field(examples=[40])]
    head: Annotated[str, Field(examples=["40:2c26b46b68ffc68ff99b453c1d304134"])]
    sealed_at: datetime | None
    key_id: _KeyId | None
    unsealed: Count
