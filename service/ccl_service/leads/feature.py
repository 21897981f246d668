"""Plugs leads into the process. Opens after the feature that starts first contacts."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import uuid4

from aiohttp import web

from ccl_service.leads.api import FIRST_CONTACT, IMPORTS, LEADS, ROUTES
from ccl_service.leads.imports import IMPORTS as IMPORT_TABLE
from ccl_service.leads.imports import Imports
from ccl_service.leads.jobs import import_loop
from ccl_service.leads.service import Leads
from ccl_service.platform.http import CLOCK, DB, METRICS
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.monitoring import PROBE


@contextlib.asynccontextmanager
async def open_leads(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """The intake, the imports, and the loop that works them."""
    db, first_contact = app[DB], app[FIRST_CONTACT]
    count = app[METRICS].count
    loop = import_loop(db, first_contact, now=app[CLOCK], new_id=uuid4, count=count, fits=app[PROBE].fits)
    app[LEADS] = Leads(db, first_contact, now=app[CLOCK], new_id=uuid4, count=count)
    app[IMPORTS] = Imports(db, new_id=uuid4, wake=loop.wake)
    yield (Worker("imports", loop.run),)


FEATURE: Final = Feature("leads", ROUTES, open_leads, tables=(IMPORT_TABLE,))
