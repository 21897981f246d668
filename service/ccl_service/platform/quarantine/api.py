"""Routes of the rows that wait for a human, for the holder of the root key."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from ccl_service.platform.audit.api import caller_of
from ccl_service.platform.body import QUERY, json_reply, parse_query, path_uuid
from ccl_service.platform.cursor import Cursor, bad_cursor, moment, pack, unpack
from ccl_service.platform.fields import CleanText
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import FieldError, ValidationFailed
from ccl_service.platform.quarantine.service import RETRIED, Quarantine
from ccl_service.platform.route import Auth, Priority, Route

QUARANTINE: Final = web.AppKey("quarantine", Quarantine)


class WorkQuery(BaseModel):
    """Which rows: of one table, or of all."""

    model_config = ConfigDict(extra="forbid")

    table: Annotated[CleanText, Field(max_length=63)] | None = None
    after: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class WaitingView(BaseModel):
    """A row that was given up. ``claims`` are those without a result, ``attempts`` those that failed."""

    model_config = ConfigDict(from_attributes=True)

    table: str
    id: UUID
    state: str
    reason: str | None
    lane: int
    claims: int
    attempts: int
    due_at: datetime


class WaitingPage(BaseModel):
    """Rows, longest waiting first; ``next`` continues, null at the end."""

    items: list[WaitingView]
    next: str | None


class RetriedView(BaseModel):
    """The row is worked again, from this state."""

    model_config = ConfigDict(from_attributes=True)

    table: str
    id: UUID
    state: str


async def get_work(request: web.Request) -> web.Response:
    """GET /api/work: 200 a page. Problems: 401, 403, 422 table or cursor."""
    query, quarantine = parse_query(request, WorkQuery), request.app[QUARANTINE]
    if query.table is not None and query.table not in quarantine.tables:
        known = ", ".join(quarantine.tables)
        raise ValidationFailed([FieldError(("table",), "table", f"is none of {known}", QUERY)])
    found = await quarantine.page(table=query.table, after=_cursor(query.after), limit=query.limit + 1)
    items = [WaitingView.model_validate(row) for row in found[: query.limit]]
    last = items[-1] if len(found) > query.limit else None
    return json_reply(WaitingPage(items=items, next=pack(last.due_at, last.table, last.id) if last else None))


async def post_retry(request: web.Request) -> web.Response:
    """POST /api/work/{table}/{id}/retry: 200. Problems: 401, 403, 404 nothing waits there."""
    table, row_id = request.match_info["table"], path_uuid(request)
    retried = await request.app[QUARANTINE].retry(table, row_id, caller_of(request))
    return json_reply(RetriedView.model_validate(retried))


def _cursor(text: str | None) -> tuple[datetime, str, UUID] | None:
    if text is None:
        return None
    at, table, row_id = unpack(text, 3)
    try:
        return moment(at), table, UUID(row_id)
    except ValueError as exc:
        raise bad_cursor() from exc


ROUTES: Final = (
    Route(
        "GET",
        "/api/work",
        get_work,
        Auth.ROOT_KEY,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        query=WorkQuery,
        response=WaitingPage,
        summary="Work that was given up and waits for a human",
    ),
    Route(
        "POST",
        "/api/work/{table}/{id}/retry",
        post_retry,
        Auth.ROOT_KEY,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        audit=RETRIED,
        response=RetriedView,
        summary="Work a row again that was given up",
    ),
)
