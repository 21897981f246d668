"""Scoped keys, the audit trail, work that was given up."""

from collections.abc import AsyncIterator
from uuid import UUID

from ccl_service.client.transport import Request, Transport, operation
from ccl_service.platform.api_keys.model import KeyDraft, KeyMade, KeyPage, KeyQuery, KeyView, Rotation
from ccl_service.platform.audit.views import AuditHead, AuditPage, AuditQuery, AuditRow, ExportQuery
from ccl_service.platform.quarantine.views import RetriedView, WaitingPage, WorkQuery


class Keys:
    """Needs the root key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("post_api_keys")
    async def create(self, draft: KeyDraft) -> KeyMade:
        """Make a key; its secret is shown this once. Not repeated by itself: a lost answer is a key nobody has."""
        return await self._transport.json(KeyMade, Request("POST", "api/keys", body=draft))

    @operation("get_api_keys")
    async def page(self, query: KeyQuery | None = None) -> KeyPage:
        """A page, newest first, without secrets."""
        return await self._transport.json(KeyPage, Request("GET", "api/keys", query=query))

    @operation("get_api_keys_id")
    async def get(self, key_id: UUID) -> KeyView:
        """One key."""
        return await self._transport.json(KeyView, Request("GET", f"api/keys/{key_id}"))

    @operation("post_api_keys_id_rotate")
    async def rotate(self, key_id: UUID, rotation: Rotation | None = None) -> KeyMade:
        """Give a key a new secret; the old ones stay valid for a while, a day unless told."""
        request = Request("POST", f"api/keys/{key_id}/rotate", body=rotation or Rotation())
        return await self._transport.json(KeyMade, request)

    @operation("delete_api_keys_id")
    async def revoke(self, key_id: UUID) -> None:
        """Revoke a key for ever."""
        await self._transport.body(Request("DELETE", f"api/keys/{key_id}"))


class Audit:
    """Needs the scope audit:read."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("get_api_audit")
    async def page(self, query: AuditQuery | None = None) -> AuditPage:
        """Who changed what, newest first."""
        return await self._transport.json(AuditPage, Request("GET", "api/audit", query=query))

    @operation("get_api_audit_head")
    async def head(self) -> AuditHead:
        """Where the chain ends."""
        return await self._transport.json(AuditHead, Request("GET", "api/audit/head"))

    @operation("get_api_audit_export")
    async def export(self, query: ExportQuery | None = None) -> AsyncIterator[AuditRow]:
        """The sealed rows in the order of the chain. Raises Unreachable when it breaks off: then it was not all."""
        async with self._transport.open(Request("GET", "api/audit/export", query=query, seconds=None)) as answer:
            async for line in answer.content:
                yield AuditRow.model_validate_json(line)


class Work:
    """Needs the root key."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("get_api_work")
    async def page(self, query: WorkQuery | None = None) -> WaitingPage:
        """Work that waits for a human, longest first."""
        return await self._transport.json(WaitingPage, Request("GET", "api/work", query=query))

    @operation("post_api_work_table_id_retry")
    async def retry(self, table: str, row_id: UUID) -> RetriedView:
        """Work a row again."""
        return await self._transport.json(RetriedView, Request("POST", f"api/work/{table}/{row_id}/retry"))
