"""Routes of the audit trail, and who a request's caller is for it."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import structlog
from aiohttp import web

from ccl_service.platform.admission import CLIENT
from ccl_service.platform.audit import service
from ccl_service.platform.audit.model import Caller, Row
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.audit.sql import Filter
from ccl_service.platform.audit.views import AuditHead, AuditPage, AuditQuery, ExportQuery
from ccl_service.platform.auth import Principal, presented_key
from ccl_service.platform.db import Db
from ccl_service.platform.http import (
    DB,
    KEYS,
    PRINCIPAL,
    REQUEST_ID,
    ROUTE,
    Auth,
    LimitClass,
    Priority,
    Route,
    Scope,
    json_reply,
    parse_query,
)
from ccl_service.platform.problems import CclError, Conflict

AUDIT: Final = web.AppKey("audit", Audit)
NDJSON: Final = "application/x-ndjson"

log = structlog.get_logger("ccl.audit")


def caller_of(request: web.Request) -> Caller:
    """Who makes this request."""
    principal = request[PRINCIPAL]
    return Caller(principal.kind, principal.id, _key_id(request, principal), request[REQUEST_ID], request[CLIENT])


def _key_id(request: web.Request, principal: Principal) -> str | None:
    """Of the key that was used: a scoped one is its own principal, root keys are several of one."""
    if principal.kind == "key":
        return principal.id
    key = presented_key(request.headers)
    return request.app[KEYS].root_key_id(key) if principal.kind == "root" and key else None


def recorder(request: web.Request, object_kind: str) -> Callable[[Db, object, Mapping[str, object]], Awaitable[None]]:
    """Records, in the transaction it is given, that this request did its route's action to the object with an id.

    The mapping holds what changed, as in ``Audit.record``.
    """
    action, caller, audit = request[ROUTE].audit, caller_of(request), request.app[AUDIT]
    assert action is not None, "the row of the route table names no action"

    async def record(tx: Db, object_id: object, changes: Mapping[str, object]) -> None:
        await audit.record(tx, caller, action, object_kind, object_id, changes=changes)

    return record


def as_document(row: Row) -> Mapping[str, Any]:
    """A row with digests as hex, as the list and the export show it."""
    entry, link = row.entry, row.link
    return {
        "id": row.id,
        "event": str(entry.event),
        "at": entry.at.isoformat(),
        "principal_kind": entry.principal_kind,
        "principal_id": entry.principal_id,
        "key_id": entry.key_id,
        "request_id": entry.request_id,
        "client": entry.client,
        "action": entry.action,
        "object_kind": entry.object_kind,
        "object_id": entry.object_id,
        "objects": entry.objects,
        "changes": dict(entry.changes),
        "mac_key": entry.mac_key,
        "mac": entry.mac.hex(),
        "seq": link.seq if link else None,
        "hash": link.hash.hex() if link else None,
        "proven": link.proven if link else None,
    }


def as_lines(rows: Sequence[Row]) -> str:
    """Rows as JSON lines."""
    return "".join(json.dumps(as_document(row), separators=(",", ":"), ensure_ascii=False) + "\n" for row in rows)


async def get_audit(request: web.Request) -> web.Response:
    """GET /api/audit: 200 a page, newest first. Problems: 422 a filter."""
    query = parse_query(request, AuditQuery)
    which = Filter(**query.model_dump(exclude={"after", "limit"}))
    found = await service.page(request.app[DB], which, before=query.after, limit=query.limit + 1)
    items = found[: query.limit]
    more = str(items[-1].id) if len(found) > query.limit else None
    return json_reply({"items": [as_document(row) for row in items], "next": more})


async def get_head(request: web.Request) -> web.Response:
    """GET /api/audit/head: 200. Problems: 409 when the record of the chain's end was removed."""
    facts = await service.head(request.app[DB])
    if facts is None:
        raise Conflict("the record of where the chain ends was removed; run ccl-service audit verify")
    return json_reply(
        AuditHead(
            batch=facts.batch,
            seq=facts.head.seq,
            head=str(facts.head),
            sealed_at=facts.sealed_at,
            key_id=facts.key_id,
            unsealed=facts.unsealed,
        )
    )


async def get_export(request: web.Request) -> web.StreamResponse:
    """GET /api/audit/export: 200 sealed rows as JSON lines, in the order of the chain. Problems: 422."""
    query = parse_query(request, ExportQuery)
    pages = service.export(request.app[DB], after=query.after, since=query.since, until=query.until)
    first = await anext(pages, None)  # an error before the answer has begun becomes a problem document
    stream = web.StreamResponse(headers={"Content-Type": NDJSON, "Cache-Control": "no-store"})
    await stream.prepare(request)
    await stream.write(as_lines(first or ()).encode())
    try:
        async for rows in pages:
            await stream.write(as_lines(rows).encode())
    except CclError as exc:
        # the answer has begun: only a connection that breaks off tells the reader that this is not all
        log.warning("export cut off", action="audit:export:cut_off", code=exc.code)
        if request.transport is not None:
            request.transport.abort()
        return stream
    await stream.write_eof()
    return stream


ROUTES: Final = (
    Route(
        "GET",
        "/api/audit",
        get_audit,
        Auth.KEY,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        scope=Scope.AUDIT_READ,
        query=AuditQuery,
        response=AuditPage,
        summary="Who changed what, newest first",
    ),
    Route(
        "GET",
        "/api/audit/head",
        get_head,
        Auth.KEY,
        LimitClass.DEFAULT,
        priority=Priority.READ,
        scope=Scope.AUDIT_READ,
        response=AuditHead,
        errors=(Conflict,),
        summary="Where the audit chain ends",
    ),
    Route(
        "GET",
        "/api/audit/export",
        get_export,
        Auth.KEY,
        LimitClass.DEFAULT,
        priority=Priority.EXPORT,
        scope=Scope.AUDIT_READ,
        query=ExportQuery,
        produces=NDJSON,
        example='{"id":42,"action":"key:created","object_kind":"key","seq":40}\n',
        summary="The sealed audit trail as JSON lines",
    ),
)
