"""Routes of leads. The feature's services hang on the application under the keys below."""

from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

from aiohttp import web
from pydantic_core import PydanticCustomError

from ccl_service.leads.imports import MOST_BYTES, Imports
from ccl_service.leads.model import Identity, LeadDraft, identity, normal_email, normal_phone
from ccl_service.leads.service import FirstContact, Leads
from ccl_service.leads.sql import Once
from ccl_service.leads.views import (
    EventView,
    ImportAccepted,
    ImportErrors,
    ImportErrorsQuery,
    ImportProblem,
    ImportView,
    LeadAccepted,
    LeadPage,
    LeadQuery,
    LeadView,
    Timeline,
    TimelineQuery,
)
from ccl_service.platform.audit.api import caller_of, recorder
from ccl_service.platform.body import QUERY, path_uuid, read_pieces
from ccl_service.platform.cursor import bad_cursor, moment, pack, unpack
from ccl_service.platform.examples import ID
from ccl_service.platform.http import (
    PRINCIPAL,
    Auth,
    LimitClass,
    Priority,
    Route,
    Scope,
    json_reply,
    parse_json,
    parse_query,
    read_body,
)
from ccl_service.platform.problems import FieldError, IdempotencyMismatch, UnsupportedType, ValidationFailed
from ccl_service.platform.route import Answer, Header, Link

LEADS: Final = web.AppKey("leads", Leads)
IMPORTS: Final = web.AppKey("imports", Imports)
#: Set by the feature that starts first contacts, which therefore opens before this one.
FIRST_CONTACT: Final[web.AppKey[FirstContact]] = web.AppKey("first_contact")

ACTOR: Final = "api"
#: A lead is a kilobyte or two.
LEAD_BYTES: Final = 65_536


async def post_lead(request: web.Request) -> web.Response:
    """POST /api/leads: 201 new, 200 known or repeated. Problems: 422 body, or key with another body."""
    draft = await parse_json(request, LeadDraft)
    once, origin = await _once(request), caller_of(request).origin()
    outcome = await request.app[LEADS].accept(draft, actor=ACTOR, origin=origin, once=once)
    return json_reply(outcome.answer(), status=201 if outcome.created else 200)


async def get_lead(request: web.Request) -> web.Response:
    """GET /api/leads/{id}: 200. Problems: 404."""
    return json_reply(LeadView.model_validate(await request.app[LEADS].get(path_uuid(request))))


async def list_leads(request: web.Request) -> web.Response:
    """GET /api/leads: 200 a page, newest first. Problems: 422 a filter."""
    query = parse_query(request, LeadQuery)
    found = await request.app[LEADS].page(
        after=_cursor_in(query.after),
        state=query.state,
        source=query.source,
        since=query.created_from,
        until=query.created_to,
        who=_who(query.q),
        limit=query.limit + 1,
    )
    items = [LeadView.model_validate(lead) for lead in found[: query.limit]]
    last = items[-1] if len(found) > query.limit else None
    return json_reply(LeadPage(items=items, next=pack(last.created_at, last.id) if last else None))


async def get_timeline(request: web.Request) -> web.Response:
    """GET /api/leads/{id}/timeline: 200 events, oldest first. Problems: 404."""
    query = parse_query(request, TimelineQuery)
    events = await request.app[LEADS].timeline(path_uuid(request), after=query.after, limit=query.limit + 1)
    items = [EventView.model_validate(event, from_attributes=True) for event in events[: query.limit]]
    more = str(items[-1].id) if len(events) > query.limit else None
    return json_reply(Timeline(items=items, next=more))


async def post_import(request: web.Request) -> web.Response:
    """POST /api/leads/import: 202 staged. Problems: 413 over the import's own limit, 415 not text/csv."""
    if request.content_type != "text/csv":
        raise UnsupportedType("send text/csv")
    import_id = await request.app[IMPORTS].stage(read_pieces(request), record=recorder(request, "import"))
    location = f"/api/leads/imports/{import_id}"
    return json_reply(ImportAccepted(id=import_id), status=202, headers={"Location": location})


async def get_import(request: web.Request) -> web.Response:
    """GET /api/leads/imports/{id}: 200 state and counts. Problems: 404."""
    found = await request.app[IMPORTS].get(import_id := path_uuid(request))
    found.pop("id")
    return json_reply(ImportView(**found, errors_url=f"/api/leads/imports/{import_id}/errors"))


async def get_import_errors(request: web.Request) -> web.Response:
    """GET /api/leads/imports/{id}/errors: 200 a page. Problems: 404, 422 the cursor."""
    query = parse_query(request, ImportErrorsQuery)
    found = await request.app[IMPORTS].errors(
        path_uuid(request), after=_error_cursor(query.after), limit=query.limit + 1
    )
    items = [ImportProblem(**error) for error in found[: query.limit]]
    last = items[-1] if len(found) > query.limit else None
    return json_reply(ImportErrors(items=items, next=pack(last.row, last.field, last.code) if last else None))


async def _once(request: web.Request) -> Once | None:
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return None
    if not (1 <= len(key) <= 200 and key.isascii() and key.isprintable()):
        raise ValidationFailed(
            [FieldError(("Idempotency-Key",), "key", "must be 1 to 200 printable ASCII characters", "header")]
        )
    body = sha256(await read_body(request)).digest()
    return Once(request[PRINCIPAL].id, "POST /api/leads", key, body)


def _who(text: str | None) -> Identity | None:
    if text is None:
        return None
    try:
        return identity("email", normal_email(text)) if "@" in text else identity("phone", normal_phone(text))
    except PydanticCustomError as exc:
        raise ValidationFailed([FieldError(("q",), exc.type, exc.message(), QUERY)]) from exc


def _cursor_in(cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    at, lead = unpack(cursor, 2)
    try:
        return moment(at), UUID(lead)
    except ValueError as exc:
        raise bad_cursor() from exc


def _error_cursor(cursor: str | None) -> tuple[int, str, str]:
    if cursor is None:
        return (0, "", "")
    row, field, code = unpack(cursor, 3)
    if not (row.isascii() and row.isdigit() and len(row) < 10):
        raise bad_cursor()
    return int(row), field, code


_KEY, _LIMIT = Auth.KEY, LimitClass.DEFAULT

ROUTES: Final = (
    Route(
        "POST",
        "/api/leads",
        post_lead,
        _KEY,
        _LIMIT,
        priority=Priority.INTAKE,
        scope=Scope.LEADS_WRITE,
        body=LeadDraft,
        body_limit=LEAD_BYTES,
        body_depth=3,
        headers=(
            Header(
                "Idempotency-Key",
                "The same key with the same body is answered like the first time, for 24 hours.",
                "b5c3a7c0-6a0e-4b8e-9f0a-3d8f6f3b2a11",
                r"^[!-~]([ -~]{0,198}[!-~])?$",
            ),
        ),
        response=LeadAccepted,
        status=201,
        also=(Answer(200, LeadAccepted),),
        links=(
            Link("GET", "/api/leads/{id}", (("id", "$response.body#/id"),)),
            Link("GET", "/api/leads/{id}/timeline", (("id", "$response.body#/id"),)),
        ),
        errors=(IdempotencyMismatch,),
        summary="Take a lead in, once per Idempotency-Key",
    ),
    Route(
        "GET",
        "/api/leads",
        list_leads,
        _KEY,
        _LIMIT,
        priority=Priority.READ,
        scope=Scope.LEADS_READ,
        query=LeadQuery,
        response=LeadPage,
        links=(Link("GET", "/api/leads/{id}", (("id", "$response.body#/items/0/id"),)),),
        summary="List leads",
    ),
    Route(
        "POST",
        "/api/leads/import",
        post_import,
        _KEY,
        _LIMIT,
        priority=Priority.EXPORT,
        scope=Scope.LEADS_IMPORT,
        audit="import:staged",
        body_limit=MOST_BYTES,
        consumes="text/csv",
        body_example="first_name,email,phone\nAna,ana@example.com,+1 617 555 0123\n",
        response=ImportAccepted,
        status=202,
        sends=(Header("Location", "Where to follow the import.", f"/api/leads/imports/{ID}"),),
        links=(
            Link("GET", "/api/leads/imports/{id}", (("id", "$response.body#/id"),)),
            Link("GET", "/api/leads/imports/{id}/errors", (("id", "$response.body#/id"),)),
        ),
        summary="Stage a CSV file of leads",
    ),
    Route(
        "GET",
        "/api/leads/imports/{id}",
        get_import,
        _KEY,
        _LIMIT,
        priority=Priority.READ,
        scope=Scope.LEADS_IMPORT,
        response=ImportView,
        summary="Follow an import",
    ),
    Route(
        "GET",
        "/api/leads/imports/{id}/errors",
        get_import_errors,
        _KEY,
        _LIMIT,
        priority=Priority.READ,
        scope=Scope.LEADS_IMPORT,
        query=ImportErrorsQuery,
        response=ImportErrors,
        summary="Rows that were rejected, and why",
    ),
    Route(
        "GET",
        "/api/leads/{id}",
        get_lead,
        _KEY,
        _LIMIT,
        priority=Priority.READ,
        scope=Scope.LEADS_READ,
        response=LeadView,
        summary="One lead",
    ),
    Route(
        "GET",
        "/api/leads/{id}/timeline",
        get_timeline,
        _KEY,
        _LIMIT,
        priority=Priority.READ,
        scope=Scope.LEADS_READ,
        query=TimelineQuery,
        response=Timeline,
        summary="What happened to a lead, oldest first",
    ),
)
