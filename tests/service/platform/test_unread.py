"""Clients that ask and do not read: cut off when they take nothing, left alone while they take something."""

import asyncio
import contextlib
import select
import signal
import socket
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from ccl_service.main import Service
from ccl_service.platform.lifecycle import STOP_SECONDS
from ccl_service.platform.server import CUT_OFF_SECONDS, runner
from tests.service.platform.test_server import listening
from tests.service.polling import eventually
from tests.service.processes import Process, running, until_status

LARGE = b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
LIVE = b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n"


IMPATIENT = """
from ccl_service.cli import main
from ccl_service.platform.server import runner

runner.__kwdefaults__["unread_seconds"] = 0.4
main()
"""


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[socket.socket]:
    """A client with hardly any room for answers."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
        yield client


async def asked(client: socket.socket, count: int) -> None:
    await asyncio.get_running_loop().sock_sendall(client, LARGE * count)


def was_reset(client: socket.socket) -> bool:
    """Whether the other side has aborted, found without reading."""
    poll = select.poll()
    poll.register(client, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


async def until_reset(client: socket.socket) -> None:
    async def reset() -> bool:
        return was_reset(client)

    await eventually(reset, within=30)


async def received(client: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer when it ends before."""
    data = bytearray()
    async with asyncio.timeout(60):
        while len(data) < count:
            piece = await asyncio.get_running_loop().sock_recv(client, count - len(data))
            if not piece:
                break
            data += piece
    return bytes(data)


async def test_a_client_that_reads_nothing_is_cut_off(service: Service) -> None:
    async with listening(service, unread_seconds=0.4) as port, connected(port) as client:
        await asked(client, 60)
        await until_reset(client)
    limited = service.metrics.registry.get_sample_value("ccl_http_limited_total", {"limit": "unread"})
    assert limited == 1


async def test_a_client_that_stops_reading_is_cut_off(service: Service) -> None:
    async with listening(service, unread_seconds=0.4) as port, connected(port) as client:
        await asked(client, 60)
        assert len(await received(client, 100_000)) == 100_000
        await until_reset(client)


async def test_a_slow_but_steady_reader_is_served_on(service: Service) -> None:
    """It takes so little that the kernel has no use for what is waiting here: only its acknowledgements tell."""
    async with listening(service, unread_seconds=1) as port, connected(port) as client:
        await asked(client, 60)
        until = time.monotonic() + 4
        while time.monotonic() < until:
            assert await received(client, 2048)
            await asyncio.sleep(0.05)
        assert not was_reset(client)


async def test_who_has_read_everything_may_wait_as_long_as_it_likes(service: Service) -> None:
    async with listening(service, unread_seconds=0.4) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**16)
        try:
            writer.write(LARGE * 30)
            for _ in range(30):
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.lower().split(b"\r\n")
                length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
                await reader.readexactly(length)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(1), 1.2)
            writer.write(LIVE)
            assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        finally:
            writer.close()
            await writer.wait_closed()


async def test_what_is_left_when_a_connection_closes_is_not_kept_for_ever(service: Service) -> None:
    """So little that no transport would tell that its buffer fills, and more than the kernel takes."""
    serving = runner(service.app, unread_seconds=0.4)
    await serving.setup()
    try:
        narrow = socket.create_server(("127.0.0.1", 0))
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await web.SockSite(serving, narrow).start()
        async with connected(narrow.getsockname()[1]) as client:
            last = LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            await asyncio.get_running_loop().sock_sendall(client, LIVE * 60 + last)
            await until_reset(client)
    finally:
        await serving.cleanup()


async def test_the_real_process_cuts_them_off_too(environ: dict[str, str]) -> None:
    """Its event loop may be uvloop, whose transports are none of asyncio's classes."""
    async with (
        running(environ, program=("-c", IMPATIENT)) as process,
        connected(await _ready(process)) as client,
    ):
        await asked(client, 60)
        await until_reset(client)


async def test_a_stop_does_not_wait_for_a_client_that_reads_nothing(environ: dict[str, str]) -> None:
    async with running(environ | {"DRAIN_DELAY_MS": "100"}) as process, connected(await _ready(process)) as client:
        await asked(client, 60)
        await received(client, 1)
        process.handle.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.handle.wait(), STOP_SECONDS + CUT_OFF_SECONDS + 30) == 0


async def _ready(process: Process) -> int:
    async with aiohttp.ClientSession() as session:
        await until_status(session, f"{process.url}/ready", 200)
    return process.port
