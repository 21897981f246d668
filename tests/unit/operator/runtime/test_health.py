"""A process that hears nothing any more ends."""

import asyncio
from dataclasses import dataclass

import pytest

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.runtime.health import Deaf, Health
from ccl_operator.runtime.metrics import Metrics


@dataclass
class Ear:
    """Silent for ``silence`` seconds."""

    silence: float
    resource: Resource = names.SERVICE
    namespace: str | None = None
    deaf_after: float = 300.0

    def age(self) -> float:
        return self.silence


def health(*ears: Ear) -> Health:
    return Health(Metrics(), ears, lambda: True)


async def test_one_deaf_ear_ends_it_and_is_named() -> None:
    with pytest.raises(Deaf, match="pods"):
        await asyncio.wait_for(health(Ear(1), Ear(301, names.POD)).watch(), 30)


async def test_silence_within_bounds_does_not() -> None:
    running = asyncio.create_task(health(Ear(299), Ear(0)).watch())
    await asyncio.wait([running], timeout=0.1)
    assert not running.done()
    running.cancel()
