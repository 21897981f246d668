"""Routes of scoped keys, for the holder of the root key alone."""

from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from aiohttp.typedefs import Handler

from ccl_service.platform.api_keys.model import KeyDraft, KeyMade, KeyPage, KeyQuery, KeyView, Rotation
from ccl_service.platform.api_keys.service import ApiKeys, KeyNotUsable
from ccl_service.platform.audit.api import caller_of
from ccl_service.platform.body import json_reply, parse_json, parse_query, path_uuid
from ccl_service.platform.cursor import bad_cursor, moment, pack, unpack
from ccl_service.platform.examples import ID
from ccl_service.platform.limits import LimitClass
from ccl_service.platform.route import Auth, Header, Link, Priority, Route

API_KEYS: Final = web.AppKey("api_keys", ApiKeys)
#: A secret stays with whoever asked for it: no cache on the way may keep it (RFC 9111 5.2.2.5).
NO_STORE: Final = {"Cache-Control": "no-store"}
MOST_BYTES: Final = 16_384


async def post_key(request: web.Request) -> web.Response:
    """POST /api/keys: 201 with the secret. Problems: 401, 403, 422 body."""
    made = await request.app[API_KEYS].create(await parse_json(request, KeyDraft), caller_of(request))
    return json_reply(made, status=201, headers=NO_STORE | {"Location": f"/api/keys/{made.key.id}"})


async def list_keys(request: web.Request) -> web.Response:
    """GET /api/keys: 200 a page, newest first. Problems: 401, 403, 422 cursor."""
    query = parse_query(request, KeyQuery)
    found = await request.app[API_KEYS].page(after=_cursor(query.after), limit=query.limit + 1)
    items = found[: query.limit]
    more = pack(items[-1].created_at, items[-1].id) if len(found) > query.limit else None
    return json_reply(KeyPage(items=items, next=more))


async def get_key(request: web.Request) -> web.Response:
    """GET /api/keys/{id}: 200. Problems: 401, 403, 404."""
    return json_reply(await request.app[API_KEYS].get(path_uuid(request)))


async def post_rotation(request: web.Request) -> web.Response:
    """POST /api/keys/{id}/rotate: 201 with the new secret. Problems: 401, 403, 404, 409 not usable, 422 body."""
    overlap = timedelta(seconds=(await parse_json(request, Rotation)).overlap_seconds)
    made = await request.app[API_KEYS].rotate(path_uuid(request), caller_of(request), overlap=overlap)
    return json_reply(made, status=201, headers=NO_STORE)


async def delete_key(request: web.Request) -> web.Response:
    """DELETE /api/keys/{id}: 204 revoked, also the second time. Problems: 401, 403, 404."""
    await request.app[API_KEYS].revoke(path_uuid(request), caller_of(request))
    return web.Response(status=204)


def _cursor(text: str | None) -> tuple[Any, UUID] | None:
    if text is None:
        return None
    at, key_id = unpack(text, 2)
    try:
        return moment(at), UUID(key_id)
    except ValueError as exc:
        raise bad_cursor() from exc


def _route(method: str, path: str, handler: Handler, **described: Any) -> Route:
    return Route(
        method, f"/api/keys{path}", handler, Auth.ROOT_KEY, LimitClass.DEFAULT, priority=Priority.READ, **described
    )


_SECRET: Final = (Header("Cache-Control", "No cache may keep a secret.", "no-store"),)

ROUTES: Final = (
    _route(
        "POST",
        "",
        post_key,
        sends=(*_SECRET, Header("Location", "Where the key is.", f"/api/keys/{ID}")),
        links=tuple(
            Link(method, path, (("id", "$response.body#/key/id"),))
            for method, path in (
                ("GET", "/api/keys/{id}"),
                ("POST", "/api/keys/{id}/rotate"),
                ("DELETE", "/api/keys/{id}"),
            )
        ),
        audit="key:created",
        body=KeyDraft,
        body_limit=MOST_BYTES,
        body_depth=3,
        response=KeyMade,
        status=201,
        summary="Make a key; its secret is shown once",
    ),
    _route("GET", "", list_keys, query=KeyQuery, response=KeyPage, summary="List keys, without secrets"),
    _route("GET", "/{id}", get_key, response=KeyView, summary="One key"),
    _route(
        "POST",
        "/{id}/rotate",
        post_rotation,
        audit="key:rotated",
        body=Rotation,
        body_limit=MOST_BYTES,
        body_depth=2,
        sends=_SECRET,
        response=KeyMade,
        status=201,
        links=(Link("GET", "/api/keys/{id}", (("id", "$response.body#/key/id"),)),),
        errors=(KeyNotUsable,),
        summary="Give a key a new secret; the old ones stay valid for a while",
    ),
    _route("DELETE", "/{id}", delete_key, audit="key:revoked", status=204, summary="Revoke a key for ever"),
)
