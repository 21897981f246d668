"""A profile on demand."""

import asyncio
import json
import re

from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.main import Service
from ccl_service.platform.observability import PROFILE
from tests.service.conftest import ROOT_KEY
from tests.service.polling import eventually

Client = TestClient[web.Request, web.Application]
PATH = "/api/monitoring/profile"


async def busy(stop: asyncio.Event) -> None:
    """Work that the profile has to show."""
    while not stop.is_set():
        a_function_that_computes()
        await asyncio.sleep(0)


def a_function_that_computes() -> int:
    return sum(number * number for number in range(20_000))


async def test_the_profile_shows_what_the_process_did_and_not_only_this_request(
    client: Client, root: dict[str, str]
) -> None:
    stop = asyncio.Event()
    working = asyncio.create_task(busy(stop))
    try:
        answer = await client.get(PATH, params={"seconds": "1", "format": "speedscope"}, headers=root)
        document = json.loads(await answer.text())
    finally:
        stop.set()
        await working
    assert answer.status == 200, document
    assert "speedscope" in document["$schema"]
    assert any("a_function_that_computes" in frame["name"] for frame in document["shared"]["frames"])


async def test_the_page_loads_nothing_from_anywhere(client: Client, root: dict[str, str]) -> None:
    answer = await client.get(PATH, params={"seconds": "1"}, headers=root)
    page = await answer.text()
    assert answer.content_type == "text/html"
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert "default-src 'none'" in page
    assert "googleapis" not in page
    assert not re.search(r"""(?:src|href)=["']?https?://""", page)


async def test_a_second_profile_has_to_wait_for_the_first(
    client: Client, service: Service, root: dict[str, str]
) -> None:
    first = asyncio.create_task(client.get(PATH, params={"seconds": "60"}, headers=root))

    async def taken() -> bool:
        return service.app[PROFILE].busy

    await eventually(taken, within=30)
    assert (await client.get(PATH, params={"seconds": "1"}, headers=root)).status == 409
    service.phase.stop.set()  # a stopping process cuts the profile short
    assert (await first).status == 200


async def test_only_the_root_key_may(client: Client, root: dict[str, str]) -> None:
    assert (await client.get(PATH)).status == 401
    assert (await client.get(PATH, headers={"X-API-Key": ROOT_KEY[:-1]})).status == 401


async def test_the_length_is_bounded(client: Client, root: dict[str, str]) -> None:
    for seconds in ("0", "61", "-1", "x"):
        assert (await client.get(PATH, params={"seconds": seconds}, headers=root)).status == 422
    assert (await client.get(PATH, params={"format": "exe"}, headers=root)).status == 422
