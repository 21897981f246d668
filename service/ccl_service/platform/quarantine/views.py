"""What the routes of given-up work take and answer. Pure."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ccl_service.platform.fields import CleanText, Count, Cursor, Next

#: Time, table and id of a row.
_CURSOR: Final = "MjAyNi0wMy0wMVQxMjowMDowMCswMDowMHxzZW5kc3wwYjBlN2UwZS0zYzQzLTRkNWMtOWQ0YS01ZjFmNGYyZjZhMTE"

_Table = Annotated[str, Field(examples=["sends"])]
_Lane = Annotated[int, Field(examples=[0])]


class WorkQuery(BaseModel):
    """Which rows: of one table, or of all."""

    model_config = ConfigDict(extra="forbid")

    table: Annotated[CleanText, Field(max_length=63, examples=["sends"])] | None = None
    after: Annotated[Cursor, Field(examples=[_CURSOR])] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class WaitingView(BaseModel):
    """A row that was given up. ``claims`` are those without a result, ``attempts`` those that failed."""

    model_config = ConfigDict(from_attributes=True)

    table: _Table
    id: UUID
    state: Annotated[str, Field(examples=["quarantined"])]
    reason: Annotated[str, Field(examples=["claims"])] | None
    lane: _Lane
    claims: Count
    attempts: Count
    due_at: datetime


class WaitingPage(BaseModel):
    """Rows, longest waiting first; ``next`` continues, null at the end."""

    items: list[WaitingView]
    next: Next


class RetriedView(BaseModel):
    """The row is worked again, from this state."""

    model_config = ConfigDict(from_attributes=True)

    table: _Table
    id: UUID
    state: Annotated[str, Field(examples=["queued"])]
