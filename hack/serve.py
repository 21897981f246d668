"""``make serve``: the service alone, on an embedded PostgreSQL and fake outside worlds, without cluster or root.

Usage: python -m hack.serve [--port 5000] [--data DIR] [--fake-openai]

Data and generated keys stay in the data folder between runs; Ctrl-C stops everything that was started. Mail goes to
the fake Mailgun and nowhere else. With OPENAI_API_KEY set the chat asks that provider; without it, it answers by rules.
"""

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import aiohttp

from ccl_service.platform.migrate import migrate
from hack.fakes.mailgun import FakeMailgun, start_mailgun
from hack.fakes.openai import start_openai
from hack.files import write_private
from hack.postgres import start_postgres
from hack.run import Failure, main_with_errors, require_space

HOST: Final = "127.0.0.1"
NEEDED_BYTES: Final = 300 * 10**6
READY_SECONDS: Final = 30.0
#: Generated once per data folder, so that links in mails outlive a restart.
GENERATED: Final = (
    "INTERNAL_API_KEY",
    "JWT_SECRET",
    "SESSION_SECRET",
    "MAILGUN_API_KEY",
    "MAILGUN_WEBHOOK_SIGNING_KEY",
)


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    port: int
    data: Path
    fake_openai: bool


def main() -> int:
    """Run until Ctrl-C. Raises Failure with the fix for what the user can mend."""
    options = _options()
    _need_free_port(options.port)
    with _locked(options.data):
        return asyncio.run(_run(options))


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make serve", description="the service alone, ready in seconds")
    parser.add_argument("--port", default=os.environ.get("PORT", "5000"))
    parser.add_argument("--data", type=Path, default=_default_data())
    parser.add_argument("--fake-openai", action="store_true", help="answer the chat through the fake OpenAI")
    args = parser.parse_args()
    return Options(_port(args.port), args.data.expanduser().resolve(), args.fake_openai)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Failure(f"PORT={text} is no port", fix="a number from 1 to 65535, for instance PORT=5000 make serve")
    return int(text)


def _default_data() -> Path:
    """PostgreSQL never runs as root, and its own user cannot enter root's home."""
    base = Path("/var/tmp") if os.geteuid() == 0 else Path.home() / ".cache"
    return base / "ccl-dev" / "serve"


def _need_free_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError as exc:
            raise Failure(f"port {port} cannot be used ({exc.strerror})", fix=f"PORT={port + 1} make serve") from exc


@contextlib.contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One run per data folder: a second one would stop the first one's database."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        require_space(data, NEEDED_BYTES)
        lock = (data / "lock").open("w")
    except OSError as exc:
        raise Failure(f"{data}: {exc.strerror}", fix="pass --data with a folder that can be written") from exc
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise Failure(f"another make serve uses {data}", fix="stop it, or pass --data with another folder") from exc
        yield


async def _run(options: Options) -> int:
    started = time.monotonic()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    keys = _keys(options.data / "keys.json")
    async with contextlib.AsyncExitStack() as stack:
        _say("starting PostgreSQL")
        dsn = await stack.enter_async_context(_postgres(options.data / "postgres"))
        _say("migrating")
        within = timedelta(seconds=20)
        await migrate(dsn, contract=True, answer_within=within, lock_within=within)
        mailgun = await stack.enter_async_context(
            start_mailgun(
                api_key=keys["MAILGUN_API_KEY"],
                signing_key=keys["MAILGUN_WEBHOOK_SIGNING_KEY"],
                webhook_url=f"http://{HOST}:{options.port}/api/webhooks/mailgun",
            )
        )
        environment = _environment(options, dsn, keys, mailgun)
        if options.fake_openai:
            key = secrets.token_urlsafe(32)
            fake = await stack.enter_async_context(start_openai(api_key=key))
            environment |= {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": fake.url}
        _say("starting the service")
        service = await stack.enter_async_context(_service(environment))
        await _until_ready(f"http://{HOST}:{options.port}/ready", service, stop)
        if not stop.is_set():
            print(_guide(options, keys, dsn, mailgun.url, time.monotonic() - started), flush=True)
        return await _until_told(service, stop)


def _keys(path: Path) -> Mapping[str, str]:
    with contextlib.suppress(FileNotFoundError, ValueError):
        held = json.loads(path.read_text())
        if set(held) == set(GENERATED):
            return dict(held)
    made = {name: secrets.token_urlsafe(32) for name in GENERATED}
    write_private(path, json.dumps(made))
    return made


@contextlib.asynccontextmanager
async def _postgres(data: Path) -> AsyncIterator[str]:
    """An embedded PostgreSQL 16; as root it runs under a user of its own. Stops it also when an earlier run left it."""
    try:
        server = await asyncio.to_thread(start_postgres, data, version=16, cleanup_mode=None)
    except (OSError, RuntimeError, subprocess.SubprocessError) as exc:
        fix = f"look at {data / 'log'}; removing {data} starts over with an empty database"
        raise Failure(f"PostgreSQL does not start ({type(exc).__name__})", fix=fix) from exc
    try:
        yield str(server.get_uri())
    finally:
        await asyncio.to_thread(server.stop)


def _environment(options: Options, dsn: str, keys: Mapping[str, str], mailgun: FakeMailgun) -> dict[str, str]:
    """The service's environment: development, everything generated, all mail to the fake."""
    url = f"http://{HOST}:{options.port}"
    passed = {name: value for name, value in os.environ.items() if name.startswith("OPENAI_") or name in _PASSED}
    return passed | {
        **keys,
        "CCL_ENV": "development",
        "DATABASE_URL": dsn,
        "PORT": str(options.port),
        "PUBLIC_BASE_URL": url,
        "CORS_ORIGIN": url,
        "TRUST_PROXY": "false",
        "MAILGUN_DOMAIN": "mail.example.com",
        "MAILGUN_BASE_URL": mailgun.url,
        "MAIL_FROM": "Cathy at Complete Car Loans <cathy@mail.example.com>",
        "MAIL_POSTAL_ADDRESS": "Complete Car Loans, 1 Example Way, Springfield, IL 62701",
        "OUTBOUND_ALLOWLIST": "*",
        "RATE_LIMIT_MAX_REQUESTS": "10000",
        "DRAIN_DELAY_MS": "0",
        "POD_NAME": "serve",
        "CCL_REVISION": "serve",
    }


#: What any process needs, and what is worth changing by hand.
_PASSED: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "VIRTUAL_ENV", "PYTHONPATH", "LOG_LEVEL"})


@contextlib.asynccontextmanager
async def _service(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real process, in a session of its own so that Ctrl-C reaches it in our order only."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ccl_service", "serve", env=dict(environment), start_new_session=True
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 30)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_ready(url: str, service: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
        while not stop.is_set():
            if service.returncode is not None:
                raise Failure("the service ended before it was ready", fix="its last line above says why")
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            if time.monotonic() >= deadline:
                raise Failure(f"not ready within {READY_SECONDS:g} s", fix="LOG_LEVEL=info make serve shows more")
            await asyncio.sleep(0.05)


async def _until_told(service: asyncio.subprocess.Process, stop: asyncio.Event) -> int:
    told, ended = asyncio.create_task(stop.wait()), asyncio.create_task(service.wait())
    await asyncio.wait({told, ended}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if stop.is_set():
        ended.cancel()
        _say("stopping")
        return 0
    raise Failure(f"the service ended with code {service.returncode}", fix="its last line above says why")


def _say(line: str) -> None:
    print(f"… {line}", flush=True)


def _guide(options: Options, keys: Mapping[str, str], dsn: str, outbox: str, took: float) -> str:
    url, key = f"http://{HOST}:{options.port}", keys["INTERNAL_API_KEY"]
    lead = {
        "first_name": "Maria",
        "last_name": "Lopez",
        "email": "maria.lopez@example.com",
        "phone": "+1 312-555-0142",
        "source": "api",
    }
    return f"""
ready after {took:.1f} s   (Ctrl-C stops everything; the data stays in {options.data})

  service     {url}
  root key    {key}   (generated, for this machine only)
  sent mail   {outbox}/outbox   (nothing leaves this machine)
  database    {dsn}

  export KEY={key}
  curl -s {url}/api/monitoring/production-readiness -H "Authorization: Bearer $KEY"
  curl -s {url}/api/leads -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\
       -d '{json.dumps(lead)}'
  curl -s {url}/api/leads -H "Authorization: Bearer $KEY"
  {Path(sys.executable)} -m hack.chat --url {url}
"""


if __name__ == "__main__":
    main_with_errors(main)
