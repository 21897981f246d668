"""What the routes of leads take and answer, besides the lead itself (``leads.model``). Pure."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ccl_service.leads.model import Consent, Finance, LeadState, Source
from ccl_service.platform.fields import Count, Cursor, Instant, Next, RowNumber

MOST_PER_PAGE = 200

#: A person's fields as a lead shows them: in their normal form.
_FirstName = Annotated[str, Field(examples=["Ana"])]
_LastName = Annotated[str, Field(examples=["Silva"])]
_Email = Annotated[str, Field(examples=["ana@example.com"])]
_Phone = Annotated[str, Field(examples=["+16175550123"])]
_Zip = Annotated[str, Field(examples=["02139"])]
_Vehicle = Annotated[str, Field(examples=["a used SUV"])]
_ExternalId = Annotated[str, Field(examples=["crm-4711"])]


class LeadAccepted(BaseModel):
    """Answer to an intake."""

    id: UUID
    state: LeadState
    created: bool


class LeadView(BaseModel):
    """A lead."""

    model_config = ConfigDict(frozen=True)

    id: UUID
    state: LeadState
    source: Source
    external_id: _ExternalId | None
    first_name: _FirstName
    last_name: _LastName | None
    email: _Email | None
    phone: _Phone | None
    zip: _Zip | None
    vehicle_interest: _Vehicle | None
    finance: Finance
    consent: Consent | None
    requested_at: datetime
    created_at: datetime
    updated_at: datetime


class LeadPage(BaseModel):
    """Leads, newest first; ``next`` continues, null at the end."""

    items: list[LeadView]
    next: Next


class _Query(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LeadQuery(_Query):
    """Filters of the list; all of them must match. ``q`` is a whole e-mail address or phone number."""

    state: LeadState | None = None
    source: Source | None = None
    created_from: Instant | None = None
    created_to: Instant | None = None
    q: Annotated[str, Field(min_length=3, max_length=254, examples=["ana@example.com"])] | None = None
    after: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=MOST_PER_PAGE)] = 50


class EventView(BaseModel):
    """One line of a timeline."""

    id: Annotated[int, Field(examples=[42])]
    at: datetime
    kind: Annotated[str, Field(examples=["lead.created"])]
    actor: Annotated[str, Field(examples=["api"])]
    reason: Annotated[str, Field(examples=["bounced"])] | None
    data: Annotated[dict[str, Any], Field(examples=[{"source": "api"}])]


class Timeline(BaseModel):
    """Events, oldest first; ``next`` continues, null at the end."""

    items: list[EventView]
    next: Annotated[str, Field(examples=["42"])] | None


class TimelineQuery(_Query):
    """Where to go on."""

    after: RowNumber = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class ImportAccepted(BaseModel):
    """An import is staged; follow it under its id."""

    id: UUID


class ImportView(BaseModel):
    """How far an import is. ``duplicates`` are people known before; ``reason`` says why an import failed as a whole."""

    v: Literal[1] = 1
    state: Literal["receiving", "queued", "running", "done", "failed", "quarantined"]
    rows: Count
    accepted: Count
    duplicates: Count
    rejected: Count
    reason: Annotated[str, Field(examples=["header"])] | None
    errors_url: Annotated[str, Field(examples=["/api/leads/imports/0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11/errors"])]


class ImportProblem(BaseModel):
    """What is wrong with a row; the header is row 1, blank lines do not count, ``field`` may be empty."""

    row: Annotated[int, Field(examples=[17])]
    field: Annotated[str, Field(examples=["email"])]
    code: Annotated[str, Field(examples=["email"])]


class ImportErrors(BaseModel):
    """Errors in row order; ``next`` continues, null at the end."""

    items: list[ImportProblem]
    next: Next


class ImportErrorsQuery(_Query):
    """Where to go on."""

    after: Annotated[Cursor, Field(examples=["MTd8ZW1haWx8ZW1haWw"])] | None = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 500
