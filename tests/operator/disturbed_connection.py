"""An HTTP proxy in front of the API server that disturbs watches the way real networks and API servers do."""

import asyncio
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import aiohttp
from aiohttp import web

from hack.cluster.apiserver import ApiServer

#: gone: 410 as an ERROR event in the stream; broken: 500 as one; refused: 410 as the answer; error: 500; cut: the
#: connection breaks in the middle of an event; end: the stream ends at once, cleanly.
Fault = Literal["gone", "broken", "refused", "error", "cut", "end"]


class DisturbedConnection:
    """``faults`` meet the next watches, one each; afterwards watches pass through. ``only``: watches of this plural.

    While ``stale`` is set, lists are answered as they were the first time, as by an API server whose cache is behind.
    While ``takes_events`` is not set, events that are posted get no answer. While ``mute`` is set, watches are open and
    tell nothing.
    """

    def __init__(self, server: ApiServer, only: str = "") -> None:
        self.faults: deque[Fault] = deque()
        self.lists = 0
        self.stale = False
        self.mute = False
        self.takes_events = asyncio.Event()
        self.takes_events.set()
        self.url = ""
        self._first: dict[str, bytes] = {}
        self._server, self._only = server, only
        self._watches: set[asyncio.Transport] = set()

    def cut(self) -> None:
        """Break all watches that are open, so that new ones begin."""
        for transport in tuple(self._watches):
            transport.abort()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["DisturbedConnection"]:
        """Listen on loopback until the block ends."""
        context = ssl.create_default_context(cafile=str(self._server.ca))
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as self._session:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                yield self
            finally:
                await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" in request.query and request.path.endswith(self._only):
            if self.faults:
                return await self._disturb(request, self.faults.popleft())
            transport = request.transport
            assert transport is not None
            self._watches.add(transport)
            try:
                return await self._pass_through(request)
            finally:
                self._watches.discard(transport)
        elif request.method == "GET":
            self.lists += 1
            if self.stale and request.path_qs in self._first:
                return web.Response(body=self._first[request.path_qs], content_type="application/json")
        elif request.path.endswith("/events"):
            await self.takes_events.wait()
        return await self._pass_through(request)

    async def _disturb(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        status = {"kind": "Status", "status": "Failure", "message": "too old resource version", "code": 410}
        if fault == "refused":
            return web.json_response(status, status=410)
        if fault == "error":
            return web.json_response({"kind": "Status", "message": "etcd is away", "code": 500}, status=500)
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        if fault in {"gone", "broken"}:
            told = status if fault == "gone" else {**status, "code": 500, "message": "etcd is away"}
            await answer.write(json.dumps({"type": "ERROR", "object": told}).encode() + b"\n")
        elif fault == "cut":
            await answer.write(b'{"type":"ADDED","object":{"metadata":{"na')
            assert request.transport is not None
            request.transport.abort()
        return answer

    async def _pass_through(self, request: web.Request) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() != "host"}
        # None where there is none: empty bytes would be announced as of some type, which the server refuses.
        body = await request.read() or None
        url = f"{self._server.url}{request.path_qs}"
        async with self._session.request(request.method, url, headers=headers, data=body) as upstream:
            answer = web.StreamResponse(status=upstream.status, headers={"Content-Type": upstream.content_type})
            await answer.prepare(request)
            passed = bytearray()
            async for chunk in upstream.content.iter_any():
                if self.mute and "watch" in request.query:
                    continue
                await answer.write(chunk)
                if "limit" in request.query:
                    passed += chunk
            if passed:
                self._first.setdefault(request.path_qs, bytes(passed))
            return answer
