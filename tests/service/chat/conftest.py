"""The whole service with a provider that speaks OpenAI's protocol; its workers run."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from ccl_service.platform.assembly import Service
from ccl_service.platform.http import DB
from ccl_service.platform.lifecycle import working
from hack.fakes.openai import FakeOpenAi, start_openai
from tests.service.chat.system import OPENAI_KEY, System


@pytest.fixture
async def openai() -> AsyncIterator[FakeOpenAi]:
    """The provider."""
    async with start_openai(api_key=OPENAI_KEY) as fake:
        yield fake


@pytest.fixture
def environ(environ: dict[str, str], openai: FakeOpenAi) -> dict[str, str]:
    """With a model configured."""
    return environ | {"OPENAI_API_KEY": OPENAI_KEY, "OPENAI_BASE_URL": openai.url}


@pytest.fixture
def idle(service: Service, client: TestClient[web.Request, web.Application], openai: FakeOpenAi) -> System:
    """The service whose workers do not run."""
    return System(str(client.make_url("")).rstrip("/"), service.app[DB], openai, service.app)


@pytest.fixture
async def system(idle: System, service: Service) -> AsyncIterator[System]:
    """The service with its workers."""
    async with working(service.workers, service.phase.stop, service.metrics):
        yield idle
