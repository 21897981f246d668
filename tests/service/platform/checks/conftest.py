"""A production environment with which nothing is wrong, and what it needs."""

from collections.abc import AsyncIterator

import pytest

from tests.service.platform.checks.outside import Outside, start_outside


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    async with start_outside() as started:
        yield started


@pytest.fixture
def production(environ: dict[str, str], outside: Outside, redis_server: str) -> dict[str, str]:
    """A production environment with which nothing is wrong."""
    return environ | outside.environ() | {"REDIS_URL": redis_server}
