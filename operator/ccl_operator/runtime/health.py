"""/livez, /readyz and /metrics of the operator itself (kubernetes.io, "Kubernetes API health endpoints", naming)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ccl_operator.actions import Resource
from ccl_operator.runtime.metrics import Metrics

#: Seconds between two looks of the process at itself.
LOOK_EVERY: Final = 10.0


class Ear(Protocol):
    """Something that listens to one kind, in one namespace (None: all)."""

    @property
    def resource(self) -> Resource:
        """The kind."""

    @property
    def namespace(self) -> str | None:
        """Where."""

    @property
    def deaf_after(self) -> float:
        """Seconds of silence that mean nothing any more is heard."""

    def age(self) -> float:
        """Seconds since it was last known to hear."""


class Deaf(Exception):
    """Changes of some kind are not heard any more."""


class Health:
    """``is_ready`` says whether the first listings are in."""

    def __init__(self, metrics: Metrics, ears: Sequence[Ear], is_ready: Callable[[], bool]) -> None:
        self._metrics, self._ears, self._is_ready = metrics, ears, is_ready

    async def watch(self) -> None:
        """Return never; raises Deaf."""
        while True:
            if deaf := self._deaf():
                raise Deaf(f"nothing heard any more about {', '.join(deaf)}")
            await asyncio.sleep(LOOK_EVERY)

    def _deaf(self) -> list[str]:
        return sorted(one.resource.plural for one in self._ears if one.age() > one.deaf_after)

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
        if deaf := self._deaf():
            return web.Response(status=503, text=f"nothing heard any more about {', '.join(deaf)}\n")
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        """200 once the caches are filled, else 503."""
        return web.Response(text="ok\n") if self._is_ready() else web.Response(status=503, text="filling the caches\n")

    async def _metrics_page(self, _: web.Request) -> web.Response:
        """The metrics in Prometheus' text format."""
        for one in self._ears:
            self._metrics.watch_age_seconds.labels(one.resource.plural, one.namespace or "").set(one.age())
        page = generate_latest(self._metrics.registry)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
