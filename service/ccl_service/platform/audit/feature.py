"""Plugs the audit trail into the process. Opens before every feature that records."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import uuid4

from aiohttp import web

from ccl_service.platform.audit.api import AUDIT, ROUTES
from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.http import CLOCK, DB, KEYS
from ccl_service.platform.lifecycle import Feature, Worker


@contextlib.asynccontextmanager
async def open_audit(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """The recorder, and the sealer as a background worker."""
    app[AUDIT] = Audit(app[KEYS], now=app[CLOCK], new_id=uuid4)
    sealer = Sealer(app[DB], app[KEYS], now=app[CLOCK])
    yield (Worker("audit-sealer", sealer.run),)


FEATURE: Final = Feature("audit", ROUTES, open_audit)
