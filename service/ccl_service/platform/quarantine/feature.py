"""Plugs the API of given-up work into the process."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence

from aiohttp import web

from ccl_service.platform.audit.api import AUDIT
from ccl_service.platform.http import DB
from ccl_service.platform.lifecycle import Feature, Worker
from ccl_service.platform.quarantine.api import QUARANTINE, ROUTES
from ccl_service.platform.quarantine.service import Quarantine
from ccl_service.platform.work import WorkTable


def work_feature(tables: Iterable[WorkTable]) -> Feature:
    """The routes over all these tables. Needs the audit feature opened before."""
    known = tuple(tables)

    @contextlib.asynccontextmanager
    async def open_work(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
        app[QUARANTINE] = Quarantine(app[DB], app[AUDIT], known)
        yield ()

    return Feature("work", ROUTES, open_work)
