"""``ccl-service serve``: the wired process on a port, from the first connection to the last signal."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Mapping
from typing import Final

from ccl_service.main import open_service
from ccl_service.platform.config import Settings
from ccl_service.platform.descriptors import connection_places, raise_limit
from ccl_service.platform.lifecycle import Role, stop, working
from ccl_service.platform.listener import Listener
from ccl_service.platform.readiness import CheckFn
from ccl_service.platform.server import runner

#: After how many new objects the youngest are looked through, and how often the older ones then (``gc.set_threshold``).
#: Next to nothing here refers to itself, so that a collection finds nothing; but one of all objects, with some thousand
#: connections among them, holds every request up for a tenth of a second.
COLLECT_AFTER: Final = (10_000, 20, 50)


def rarely_collect() -> None:
    """Leave what was made at the start out of all collections, which are few from now on."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


class PortTaken(Exception):
    """The port cannot be listened on."""


async def serve(settings: Settings, role: Role, checks: Mapping[str, CheckFn]) -> None:
    """Until SIGTERM or SIGINT; a second one hurries the way out. Raises PortTaken."""
    pools = 1 + len(settings.database_replica_urls)
    places = connection_places(raise_limit(), pooled=pools * settings.db_pool_size)
    first, second = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, lambda: second.set() if first.is_set() else first.set())
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(open_service(settings, role=role, checks=checks))
        crew = await stack.enter_async_context(working(service.workers, service.phase.stop, service.metrics))
        serving = runner(service.app, places=places)
        await serving.setup()
        stack.push_async_callback(serving.cleanup)
        await service.warm()
        rarely_collect()
        listener = Listener(serving, settings.port)
        try:
            await listener.start()
        except OSError as exc:
            raise PortTaken(f"port {settings.port} cannot be used ({exc.strerror}); set PORT to a free one") from exc
        await first.wait()
        await stop(listener, service.phase, crew, delay=settings.drain_delay_ms / 1000, hurry=second)
