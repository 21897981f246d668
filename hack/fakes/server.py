"""Runs a fake's application on a socket; every fake starts and stops through here."""

import contextlib
from collections.abc import AsyncIterator

from aiohttp import web


@contextlib.asynccontextmanager
async def serving(app: web.Application, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve ``app`` until the block ends; yields its base URL without a trailing slash. Port 0 picks a free one.

    Raises OSError when the port is taken.
    """
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0][1]
        yield f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{bound}"
    finally:
        await runner.cleanup()
