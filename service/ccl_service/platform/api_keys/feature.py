"""Plugs the API of scoped keys into the process."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from secrets import token_bytes
from typing import Final
from uuid import uuid4

from aiohttp import web

from ccl_service.platform.api_keys.api import API_KEYS, ROUTES
from ccl_service.platform.api_keys.service import ApiKeys
from ccl_service.platform.audit.api import AUDIT
from ccl_service.platform.http import CLOCK, DB, DIRECTORY
from ccl_service.platform.lifecycle import Feature, Worker


@contextlib.asynccontextmanager
async def open_api_keys(app: web.Application) -> AsyncIterator[Sequence[Worker]]:
    """Needs the audit feature opened before. The directory that requests are judged by is the platform's own."""
    app[API_KEYS] = ApiKeys(app[DB], app[DIRECTORY], app[AUDIT], now=app[CLOCK], new_id=uuid4, random=token_bytes)
    yield ()


FEATURE: Final = Feature("api_keys", ROUTES, open_api_keys)
