"""/livez, /readyz and /metrics of the operator itself (kubernetes.io, "Kubernetes API health endpoints", naming)."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.reflector import Reflector

#: A kind that was silent for so long, in seconds, is not watched any more, whatever the code believes. An API server
#: that is away for less must not cost a restart.
DEAF_AFTER: Final = 900.0


class Health:
    """``is_ready`` says whether the first listings are in."""

    def __init__(self, metrics: Metrics, reflectors: Sequence[Reflector], is_ready: Callable[[], bool]) -> None:
        self._metrics, self._reflectors, self._is_ready = metrics, reflectors, is_ready

    @asynccontextmanager
    async def serving(self, port: int) -> AsyncIterator[None]:
        """Answer on all interfaces until the block ends. Raises OSError when the port is taken."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics_page)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
            yield
        finally:
            await runner.cleanup()

    async def _livez(self, _: web.Request) -> web.Response:
        """200, or 503 with the kinds that are not heard of any more."""
        deaf = sorted(one.resource.plural for one in self._reflectors if one.age() > DEAF_AFTER)
        if deaf:
            return web.Response(status=503, text=f"nothing heard for {DEAF_AFTER:.0f} s about {', '.join(deaf)}\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        """200 once the caches are filled, else 503."""
        return web.Response(text="ok\n") if self._is_ready() else web.Response(status=503, text="filling the caches\n")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        """The metrics in Prometheus' text format."""
        for one in self._reflectors:
            self._metrics.watch_age_seconds.labels(one.resource.plural, one.namespace or "").set(one.age())
        page = generate_latest(self._metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
