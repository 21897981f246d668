"""A disk that takes no more log lines."""

import json
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import aiohttp
import pytest

from tests.service.polling import eventually
from tests.service.processes import running, until_status
from tests.service.scraping import total

#: More requests than the buffers between a line and the disk can hide.
MANY = 100


async def statuses(http: aiohttp.ClientSession, root: dict[str, str], request_id: str) -> set[int]:
    """What many requests are answered; each leaves a line with its id."""
    found = set()
    for number in range(MANY):
        headers = root | {"X-Request-ID": f"{request_id}-{number:04}"}
        async with http.get("/api/leads", headers=headers) as answer:
            await answer.read()
            found.add(answer.status)
    return found


async def test_a_full_disk_costs_lines_and_no_request_and_lines_come_again_with_room(
    environ: dict[str, str], root: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        async with (
            running(environ | {"LOG_LEVEL": "info"}, "--no-jobs", stderr=file) as process,
            aiohttp.ClientSession(process.url) as http,
        ):
            await until_status(http, f"{process.url}/ready", 200)
            assert await statuses(http, root, "with-room") == {200}
            full = path.stat().st_size
            soft, hard = resource.prlimit(process.handle.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(process.handle.pid, resource.RLIMIT_FSIZE, (full, hard))
            assert await statuses(http, root, "without-room") == {200}
            assert path.stat().st_size == full
            lost = await total(process.url, root, "ccl_log_lines_lost_total")
            assert lost >= MANY
            resource.prlimit(process.handle.pid, resource.RLIMIT_FSIZE, (soft, hard))
            assert await statuses(http, root, "room-again") == {200}

            async def written() -> bool:
                return path.read_text().count("room-again") >= MANY

            await eventually(written, within=30)
            assert process.handle.returncode is None
    written_ids = {json.loads(line).get("request_id", "") for line in path.read_text().splitlines()}
    for when in ("with-room", "room-again"):
        assert {f"{when}-{number:04}" for number in range(MANY)} <= written_ids


@pytest.fixture
def full_disk() -> Iterator[BinaryIO]:
    """Every write to it ends with ENOSPC."""
    with Path("/dev/full").open("wb") as file:
        yield file


async def test_a_disk_without_any_room_costs_lines_and_no_request(
    environ: dict[str, str], root: dict[str, str], full_disk: BinaryIO
) -> None:
    async with (
        running(environ | {"LOG_LEVEL": "info"}, "--no-jobs", stderr=full_disk) as process,
        aiohttp.ClientSession(process.url) as http,
    ):
        await until_status(http, f"{process.url}/ready", 200)
        assert await statuses(http, root, "without-room") == {200}
        assert await total(process.url, root, "ccl_log_lines_lost_total") >= MANY
