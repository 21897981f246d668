"""``docs/nginx.conf`` in a real nginx in front of two real services."""

import asyncio
import contextlib
import io
import os
import shutil
import ssl
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from email.message import Message
from functools import cached_property
from http.client import parse_headers
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hack.ports import free_port
from tests.service.processes import Process, running, until_status

ROOT = Path(__file__).parents[3]
NAME = "your-domain.com"
#: Settings of a service behind one proxy.
BEHIND = {"TRUST_PROXY": "1", "DRAIN_DELAY_MS": "1000"}
FRAME = """
user root;
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/ccl.conf;
}}
"""


@dataclass(frozen=True)
class Answer:
    """An answer of HTTP/1.1."""

    status: int
    headers: Message
    body: bytes


@dataclass(frozen=True)
class Balancer:
    """nginx, which keeps what it needs in ``folder``. ``port`` speaks TLS with ``certificate``, ``plain`` does not."""

    folder: Path
    port: int
    plain: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @cached_property
    def trust(self) -> ssl.SSLContext:
        """Trusts its certificate."""
        return ssl.create_default_context(cafile=self.certificate)

    @contextlib.asynccontextmanager
    async def client(self, source: str = "127.0.0.2", **headers: str) -> AsyncIterator[aiohttp.ClientSession]:
        """A client with an address of its own."""
        connector = aiohttp.TCPConnector(ssl=self.trust, local_addr=(source, 0), limit=0)
        timeout = aiohttp.ClientTimeout(total=60)
        async with aiohttp.ClientSession(self.url, connector=connector, headers=headers, timeout=timeout) as opened:
            yield opened

    async def everything(self, request: bytes) -> bytes:
        """What is answered to ``request`` until the connection closes."""
        async with self._connection() as (reader, writer):
            writer.write(request)
            return await reader.read()

    async def answer(self, request: bytes, *, plain: int | None = None) -> Answer:
        """The first answer to ``request``; from the port ``plain``, without TLS, when that is given."""
        async with self._connection(plain) as (reader, writer):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, fields = head.partition(b"\r\n")
            headers = parse_headers(io.BytesIO(fields))
            body = await reader.readexactly(int(headers["Content-Length"]))
        return Answer(int(line.split()[1]), headers, body)

    @contextlib.asynccontextmanager
    async def _connection(
        self, plain: int | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        tls: dict[str, Any] = {} if plain else {"ssl": self.trust, "server_hostname": NAME}
        async with asyncio.timeout(30):
            reader, writer = await asyncio.open_connection("127.0.0.1", plain or self.port, **tls)
            try:
                yield reader, writer
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()


@dataclass(frozen=True)
class Site:
    """nginx and what is behind it."""

    balancer: Balancer
    apps: tuple[Process, Process]


@pytest.fixture(scope="session")
def certificate() -> Iterator[tuple[Path, Path]]:
    """A certificate for 127.0.0.1 and its key."""
    folder = Path(tempfile.mkdtemp(prefix="ccl-tls-"))
    cert, key = folder / "cert.pem", folder / "key.pem"
    names = f"subjectAltName=DNS:{NAME},IP:127.0.0.1"
    subject = ("-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-addext", names)
    made = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    subprocess.run([*made, "-keyout", key, "-out", cert, *subject], check=True, capture_output=True)
    yield cert, key
    shutil.rmtree(folder)


def rendered(folder: Path, ports: tuple[int, int], tls: int, plain: int, certificate: tuple[Path, Path]) -> str:
    """The documented file with its marked values and its places changed."""
    text = (ROOT / "docs" / "nginx.conf").read_text()
    changes = {
        "server app1:5000": f"server 127.0.0.1:{ports[0]}",
        "server app2:5000": f"server 127.0.0.1:{ports[1]}",
        "listen 443 ssl": f"listen 127.0.0.1:{tls} ssl",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "/path/to/cert.pem": str(certificate[0]),
        "/path/to/key.pem": str(certificate[1]),
        "/var/cache/ccl": f"{folder}/cache",
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def nginx(
    ports: tuple[int, int],
    certificate: tuple[Path, Path],
    render: Callable[[Path, tuple[int, int], int, int, tuple[Path, Path]], str] = rendered,
) -> Iterator[Balancer]:
    """nginx with what ``render`` makes of its folder, ports and certificate."""
    folder = Path(tempfile.mkdtemp(prefix="ccl-nginx-"))
    tls, plain = free_port(), free_port()
    (folder / "ccl.conf").write_text(render(folder, ports, tls, plain, certificate))
    frame = FRAME if os.geteuid() == 0 else FRAME.replace("user root;", "")
    (folder / "nginx.conf").write_text(frame.format(folder=folder))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") or "nginx"
    log = (folder / "out.log").open("wb")
    process = subprocess.Popen([program, "-p", folder, "-c", folder / "nginx.conf"], stdout=log, stderr=log)
    log.close()
    try:
        _until_listening(folder, process)
        yield Balancer(folder, tls, plain, certificate[0])
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder)


def _until_listening(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while not (folder / "pid").exists():
        assert process.poll() is None, (folder / "out.log").read_text()
        assert time.monotonic() < deadline, "nginx does not start"
        time.sleep(0.02)


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Behind one proxy."""
    return environ | BEHIND


@pytest.fixture
async def site(environ: dict[str, str], certificate: tuple[Path, Path]) -> AsyncIterator[Site]:
    """Both services ready and nginx in front of them."""
    async with opened(environ, certificate) as site:
        yield site


@contextlib.asynccontextmanager
async def opened(environ: dict[str, str], certificate: tuple[Path, Path]) -> AsyncIterator[Site]:
    """A site of its own."""
    async with (
        running(environ | {"POD_NAME": "app1"}) as one,
        running(environ | {"POD_NAME": "app2"}) as two,
        aiohttp.ClientSession() as session,
    ):
        await asyncio.gather(*(until_status(session, f"{app.url}/ready", 200) for app in (one, two)))
        with nginx((one.port, two.port), certificate) as balancer:
            yield Site(balancer, (one, two))
