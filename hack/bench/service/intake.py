"""CPU time of one request through everything that the service puts around its handlers, against raw aiohttp + asyncpg.

Usage: python -m hack.bench.service.intake [--requests N]

Both are processes of their own with the same pool and the same statements: reading one lead, and taking one in. What
counts is the CPU time of the serving process, which does not depend on what else runs on the machine as much as the
clock does. The two are asked in turns.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import asyncpg
from aiohttp import web

from ccl_service.leads import sql
from ccl_service.leads.model import LeadDraft
from ccl_service.leads.service import Leads
from ccl_service.mail.service import FirstContacts
from hack.bench.service.ground import Figure, migrated, report, server
from hack.bench.service.process import READY_WITHIN, ROOT_KEY, Serving, serving

ROOT = Path(__file__).parents[3]
CLIENTS = 8
ROUNDS = 4
HEADERS = {"Authorization": f"Bearer {ROOT_KEY}"}


async def raw(url: str, port: int) -> None:
    """Serve the two routes with nothing around them: no validation, limit, log, metric or header."""
    pool = await asyncpg.create_pool(url, min_size=4, max_size=10)

    async def read(request: web.Request) -> web.Response:
        async with pool.acquire() as con:
            row = await con.fetchrow(sql.LEAD_GET, UUID(request.match_info["id"]))
        text = json.dumps(dict(row) if row else None, default=str)
        return web.Response(text=text, content_type="application/json")

    async def write(request: web.Request) -> web.Response:
        body, lead = json.loads(await request.read()), uuid4()
        columns = (body["first_name"], None, body["email"], None, None, None, "{}", None)
        async with pool.acquire() as con, con.transaction():
            hashes = [os.urandom(32)]
            once = (None, None, None, None, "{}")
            data = ("api", "{}")
            moment = await con.fetchval("SELECT now()")
            await con.execute(sql.LEAD_INTAKE, lead, "api", None, *columns, moment, ["email"], hashes, *once, *data)
        return web.Response(text=json.dumps({"id": str(lead)}), content_type="application/json", status=201)

    app = web.Application()
    app.router.add_get("/api/leads/{id}", read)
    app.router.add_post("/api/leads", write)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def raw_process(url: str) -> AsyncIterator[Serving]:
    """The raw server as a process of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    began = time.perf_counter()
    handle = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hack.bench.service.intake", "--raw", url, str(port), cwd=ROOT
    )
    try:
        async with asyncio.timeout(READY_WITHIN):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    break
                await asyncio.sleep(0.01)
        yield Serving(handle, port, time.perf_counter() - began)
    finally:
        handle.kill()
        await handle.wait()


async def ask(session: aiohttp.ClientSession, url: str, requests: int, *, write: bool) -> None:
    """So many requests, ``CLIENTS`` at a time."""

    async def one_after_the_other(number: int) -> None:
        for count in range(requests // CLIENTS):
            body = {"first_name": "Ann", "email": f"ann{number}-{count}-{uuid4().hex}@example.com"}
            call = session.post(url, json=body) if write else session.get(url)
            async with call as answer:
                await answer.read()
                if answer.status not in {200, 201}:
                    raise SystemExit(f"{url} answers {answer.status}")

    await asyncio.gather(*(one_after_the_other(number) for number in range(CLIENTS)))


async def compare(servers: Sequence[Serving], path: str, requests: int, *, write: bool) -> list[float]:
    """CPU microseconds a request of each server."""
    spent = [0.0] * len(servers)
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        for turn in range(ROUNDS + 1):
            for at, one in enumerate(servers):
                before = one.cpu_seconds()
                await ask(session, f"http://127.0.0.1:{one.port}{path}", requests // ROUNDS, write=write)
                if turn:  # the first round warms up
                    spent[at] += one.cpu_seconds() - before
    return [seconds / requests * 1e6 for seconds in spent]


async def one_lead(url: str) -> UUID:
    """A lead to read."""
    async with migrated(url) as db:
        contacts = FirstContacts(new_id=uuid4, wake=lambda: None)
        leads = Leads(db, contacts, now=lambda: datetime.now(UTC), new_id=uuid4)
        return (await leads.accept(LeadDraft(first_name="Ann", email="ann@example.com"), actor="api")).id


async def measure(url: str, requests: int) -> list[Figure]:
    """Both figures."""
    lead = await one_lead(url)
    async with serving(url, "--no-jobs", DB_POOL_SIZE="10") as ours, raw_process(url) as bare:
        figures = []
        for what, path, write in (
            ("read one lead", f"/api/leads/{lead}", False),
            ("take one in, its first mail queued", "/api/leads", True),
        ):
            mine, raw_one = await compare((ours, bare), path, requests, write=write)
            figures.append(
                Figure(
                    f"{what}: CPU a request",
                    f"{mine:.0f} µs ({mine - raw_one:+.0f} µs)",
                    f"{raw_one:.0f} µs raw aiohttp + asyncpg",
                    mine / raw_one,
                    "times raw",
                )
            )
        return figures


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=8000)
    parser.add_argument("--raw", nargs=2, metavar=("URL", "PORT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.raw:
        asyncio.run(raw(arguments.raw[0], int(arguments.raw[1])))
        return
    with server() as url:
        report("One request", asyncio.run(measure(url, arguments.requests)))


if __name__ == "__main__":
    main()
