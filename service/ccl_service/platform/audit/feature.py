"""Plugs the audit trail into the process. Opens before every feature that records."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final
from uuid import uuid4

from aiohttp import web

from ccl_service.platform.audit.api import AUDIT, ROUTES
from ccl_service.platform.audit.sealer import Sealed, Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.http import CLOCK, DB, KEYS, METRICS
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.monitoring import PROBE


@contextlib.asynccontextmanager
async def open_audit(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """The recorder, and the sealer as a background worker."""
    metrics = app[METRICS]

    def count(sealed: Sealed) -> None:
        metrics.count("ccl_audit_sealed", by=sealed.rows)
        metrics.count("ccl_audit_faults", "forged", by=sealed.forged)
        metrics.count("ccl_audit_faults", "interrupted", by=not sealed.continues)

    for kind in ("forged", "interrupted"):
        metrics.count("ccl_audit_faults", kind, by=0)  # so that the first fault is an increase
    app[AUDIT] = Audit(app[KEYS], now=app[CLOCK], new_id=uuid4)
    sealer = Sealer(app[DB], app[KEYS], now=app[CLOCK], on_sealed=count, fits=app[PROBE].fits)
    yield (Worker("audit-sealer", sealer.run),)


FEATURE: Final = Feature("audit", ROUTES, open_audit)
