"""An HTTP proxy in front of the API server that counts an operator's writes and ends the operator after one of them."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import aiohttp
from aiohttp import web

from hack.cluster.apiserver import ApiServer
from hack.cluster.audit import NO_CHANGE


class CountingProxy:
    """``crash`` is called after the write ``crash_after`` was carried out and before its answer is passed on."""

    def __init__(self, server: ApiServer) -> None:
        self.url = ""
        self.writes = 0
        self.crash_after = 0
        self.crash: Callable[[], None] = lambda: None
        self.crashed = threading.Event()
        self._server = server
        self._lock = threading.Lock()

    @contextmanager
    def serving(self) -> Iterator["CountingProxy"]:
        """Listen on a port of loopback, in a thread, until the block ends."""
        loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()
        thread = threading.Thread(target=lambda: loop.run_until_complete(self._serve(stop, started)), name="proxy")
        thread.start()
        try:
            assert started.wait(30)
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()

    def expect(self, crash_after: int, crash: Callable[[], None]) -> None:
        """Count from zero; crash after so many writes, 0: never."""
        with self._lock:
            self.writes, self.crash_after, self.crash = 0, crash_after, crash
            self.crashed.clear()

    async def _serve(self, stop: asyncio.Event, started: threading.Event) -> None:
        context = ssl.create_default_context(cafile=str(self._server.ca))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0)) as self._session:
            app = web.Application(client_max_size=10 * 1024**2)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            started.set()
            await stop.wait()
            await runner.cleanup()
            # Watches that were open end with their connections; a loop may not be closed before that.
            streams = asyncio.all_tasks() - {asyncio.current_task()}
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
            # A transport closes in one of the next rounds of its loop, which is about to have none.
            for _ in range(10):
                await asyncio.sleep(0.01)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if self.crashed.is_set():
            # Nothing of a process that is gone gets through.
            raise web.HTTPServiceUnavailable
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        url = f"{self._server.url}{request.path_qs}"
        data = await request.read() or None
        async with self._session.request(request.method, url, headers=headers, data=data) as upstream:
            if self._is_last(request):
                self.crashed.set()
                self.crash()
            answer = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
            # An operator that was killed hears no answer.
            with suppress(ConnectionResetError):
                await answer.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await answer.write(chunk)
            return answer

    def _is_last(self, request: web.Request) -> bool:
        if request.method == "GET" or NO_CHANGE.intersection(request.path.split("/")):
            return False
        with self._lock:
            self.writes += 1
            return self.writes == self.crash_after
