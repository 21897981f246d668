"""Routes of the rows that wait for a human, for the holder of the root key."""

from datetime import datetime
from typing import Final
from uuid import UUID

from aiohttp import web

from ccl_service.platform.audit.api import caller_of
from ccl_service.platform.body import QUERY, json_reply, parse_query, path_uuid
from ccl_service.platform.cursor import bad_cursor, moment, pack, unpack
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.problems import FieldError, ValidationFailed
from ccl_service.platform.quarantine.service import RETRIED, Quarantine
from ccl_service.platform.quarantine.views import RetriedView, WaitingPage, WaitingView, WorkQuery
from ccl_service.platform.route import Auth, Link, Priority, Route

QUARANTINE: Final = web.AppKey("quarantine", Quarantine)


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
        links=(
            Link(
                "POST",
                "/api/work/{table}/{id}/retry",
                (("table", "$response.body#/items/0/table"), ("id", "$response.body#/items/0/id")),
            ),
        ),
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
