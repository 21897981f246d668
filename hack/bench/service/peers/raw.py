"""aiohttp + asyncpg on uvloop and nothing else: no validation, limit, key, log, metric or header.

Usage: python -m hack.bench.service.peers.raw (DATABASE_URL and PORT in the environment)
"""

import asyncio
import json
import os
from datetime import UTC, datetime
from uuid import UUID

import uvloop
from aiohttp import web

from hack.bench.service.peers import leads


async def serve(url: str, port: int) -> None:
    """Until the process ends."""
    pool = await leads.open_pool(url)

    async def read(request: web.Request) -> web.Response:
        row = await leads.read(pool, UUID(request.match_info["id"]))
        text = json.dumps(dict(row) if row else None, default=str)
        return web.Response(text=text, content_type="application/json")

    async def write(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        columns = ("api", None, body["first_name"], None, body["email"], None, None, None, "{}", None)
        answer = await leads.take_in(pool, columns, body["email"], datetime.now(UTC))
        return web.Response(text=json.dumps(answer), content_type="application/json", status=201)

    async def ready(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_get("/api/leads/{id}", read)
    app.router.add_post("/api/leads", write)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(os.environ["DATABASE_URL"], int(os.environ["PORT"])))
