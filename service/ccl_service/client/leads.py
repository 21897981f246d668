"""Leads: take in, find, follow; imports."""

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final
from uuid import UUID, uuid4

from ccl_service.client.transport import Request, Transport, operation
from ccl_service.leads.model import LeadDraft
from ccl_service.leads.views import (
    ImportAccepted,
    ImportErrors,
    ImportErrorsQuery,
    ImportView,
    LeadAccepted,
    LeadPage,
    LeadQuery,
    LeadView,
    Timeline,
    TimelineQuery,
)

PATH: Final = "api/leads"


class Leads:
    """Needs a key with the scopes leads:read, leads:write, leads:import, as the case may be."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @operation("post_api_leads")
    async def create(self, draft: LeadDraft, *, idempotency_key: str | None = None) -> LeadAccepted:
        """Take a person in, once for a key. Without one a new key is made, so that a retry cannot make two.

        ``created`` is False for a person who was known already.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid4())}
        return await self._transport.json(
            LeadAccepted, Request("POST", PATH, body=draft, headers=headers, repeatable=True)
        )

    @operation("get_api_leads_id")
    async def get(self, lead_id: UUID) -> LeadView:
        """One lead."""
        return await self._transport.json(LeadView, Request("GET", f"{PATH}/{lead_id}"))

    @operation("get_api_leads")
    async def page(self, query: LeadQuery | None = None) -> LeadPage:
        """A page, newest first."""
        return await self._transport.json(LeadPage, Request("GET", PATH, query=query))

    async def all(self, query: LeadQuery | None = None) -> AsyncIterator[LeadView]:
        """Every lead that the filters let through, newest first, page by page."""
        asked = query or LeadQuery()
        while True:
            page = await self.page(asked)
            for lead in page.items:
                yield lead
            if page.next is None:
                return
            asked = asked.model_copy(update={"after": page.next})

    @operation("get_api_leads_id_timeline")
    async def timeline(self, lead_id: UUID, query: TimelineQuery | None = None) -> Timeline:
        """What happened to a lead, oldest first."""
        return await self._transport.json(Timeline, Request("GET", f"{PATH}/{lead_id}/timeline", query=query))

    @operation("post_api_leads_import")
    async def upload(self, csv: bytes | AsyncIterable[bytes]) -> ImportAccepted:
        """Stage a CSV file; follow it with ``imported``."""
        request = Request("POST", f"{PATH}/import", data=csv, headers={"Content-Type": "text/csv"}, seconds=None)
        return await self._transport.json(ImportAccepted, request)

    @operation("get_api_leads_imports_id")
    async def imported(self, import_id: UUID) -> ImportView:
        """How far an import is."""
        return await self._transport.json(ImportView, Request("GET", f"{PATH}/imports/{import_id}"))

    @operation("get_api_leads_imports_id_errors")
    async def import_errors(self, import_id: UUID, query: ImportErrorsQuery | None = None) -> ImportErrors:
        """Rows that were rejected, and why, in their order."""
        return await self._transport.json(
            ImportErrors, Request("GET", f"{PATH}/imports/{import_id}/errors", query=query)
        )
