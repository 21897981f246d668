"""Makes a fake's application and runs it on a socket; every fake starts and stops through here."""

import contextlib
from collections.abc import AsyncIterator, Iterable

from aiohttp import web

from hack.fakes.faults import Faults, fault_routes


def application(faults: Faults, routes: Iterable[web.RouteDef], *, body_bytes: int) -> web.Application:
    """An application with these routes and those of every fake: its faults, and /live. ``body_bytes``: at most."""

    async def live(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def close(_: web.Application) -> None:
        faults.closing.set()

    app = web.Application(client_max_size=body_bytes)
    app.add_routes([*routes, web.get("/live", live), *fault_routes(faults)])
    app.on_shutdown.append(close)
    return app


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
