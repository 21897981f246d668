"""``make serve`` as its user meets it."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import aiohttp
import psutil
import pytest

from ccl_service.client import converse
from hack.ports import free_port

ROOT = Path(__file__).parents[3]


#: The user `nobody`, who may read what root may: the interpreter can be in root's home.
NOBODY = 65534
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@contextlib.asynccontextmanager
async def serving(
    *arguments: str, home: Path | None = None, user: Sequence[str] = ()
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``make serve`` until the block ends, if it has not ended by then."""
    process = await start(*arguments, home=home, user=user)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.communicate()


async def start(*arguments: str, home: Path | None = None, user: Sequence[str] = ()) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *user,
        sys.executable,
        "-m",
        "hack.serve",
        *arguments,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home or os.environ.get("HOME", "/"))},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def guide_of(process: asyncio.subprocess.Process) -> str:
    """What it prints once it is ready."""
    assert process.stdout is not None
    text = ""
    async with asyncio.timeout(60):
        while "hack.chat" not in text:
            line = (await process.stdout.readline()).decode()
            assert line, "it ended before it was ready"
            text += line
    return text


def working_in(data: Path) -> dict[str, int]:
    """Command lines of processes that work in ``data``, and their users."""
    found = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(data) in " ".join([*process.cmdline(), *process.environ().values()]):
                found[" ".join(process.cmdline())] = process.uids().real
    return found


@pytest.mark.parametrize("port", ["abc", "70000", "0", "-1"])
async def test_a_port_that_is_none_is_refused_in_one_line(port: str) -> None:
    process = await start(f"--port={port}")
    _, said = await process.communicate()
    assert process.returncode == 1
    assert (
        said.decode()
        == f"ccl: PORT={port} is no port; fix: a number from 1 to 65535, for instance PORT=5000 make serve\n"
    )


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Short enough for a socket's name, and open for the database's own user."""
    return tmp_path_factory.mktemp("s")


async def test_a_lead_becomes_a_mail_the_chat_answers_by_rules_and_ctrl_c_leaves_nothing(data: Path) -> None:
    async with serving("--port", str(free_port()), "--data", str(data)) as process:
        guide = await guide_of(process)
        url = re.search(r"service +(\S+)", guide)
        key = re.search(r"root key +(\S+)", guide)
        outbox = re.search(r"sent mail +(\S+)", guide)
        assert url is not None
        assert key is not None
        assert outbox is not None
        async with aiohttp.ClientSession() as session:
            lead = {"first_name": "Ana", "email": "ana@example.com"}
            headers = {"Authorization": f"Bearer {key[1]}"}
            async with session.post(f"{url[1]}/api/leads", json=lead, headers=headers) as answer:
                assert answer.status == 201
            deadline = time.monotonic() + 15
            while not await _mails(session, outbox[1]):
                assert time.monotonic() < deadline, "no mail came"
                await asyncio.sleep(0.05)
        said: list[str] = []
        async with converse(url[1]) as conversation:
            await conversation.say("Are you a human?", said.append)
        assert "not a human" in " ".join(said)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    assert working_in(data) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="without root all of these tests are of this case")
async def test_without_root_everything_runs_as_its_user_with_the_data_in_his_home(data: Path) -> None:
    os.chown(data, NOBODY, NOBODY)
    async with serving("--port", str(free_port()), home=data, user=AS_NOBODY) as process:
        guide = await guide_of(process)
        assert f"the data stays in {data}/.cache/ccl-dev/serve)" in guide
        running = working_in(data)
        assert any("postgres" in command for command in running)
        assert set(running.values()) == {NOBODY}
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    assert working_in(data) == {}


async def _mails(session: aiohttp.ClientSession, outbox: str) -> list[str]:
    async with session.get(f"{outbox}.json") as answer:
        return [mail["to"] for mail in await answer.json()]


async def test_a_taken_port_is_one_line_with_the_fix(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = await start("--port", str(port), "--data", str(data))
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert err.decode().splitlines() == [
        f"ccl: port {port} cannot be used (Address already in use); fix: PORT={port + 1} make serve"
    ]
