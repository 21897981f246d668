"""What has to be true before the operator can begin: an API server that answers, permissions, our CRD."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeVar

import structlog

from ccl_operator import names
from ccl_operator.runtime import access
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import TryLater
from ccl_operator.runtime.place import Place

#: The charts of CRDs and operator may be installed at the same time; seconds.
CRD_PATIENCE: Final = 60.0
#: An API server that is away for less costs no other start, and with it a longer pause of the kubelet's; seconds.
SERVER_PATIENCE: Final = 300.0
PAUSE: Final = 1.0

Found = TypeVar("Found")

log = structlog.get_logger(__name__)


class CannotStart(Exception):
    """The message says what is missing."""


async def checks(client: Client, stop: asyncio.Event, place: Place) -> None:
    """Return when everything is there, or ``stop`` is set. Raises CannotStart, TryLater."""

    async def look() -> tuple[access.Missing, ...]:
        return await access.missing(client, place.namespaces, lease_namespace=place.lease_namespace, lease=place.lease)

    missing = await patiently(look, stop)
    for one in missing or ():
        log.error("permission is missing", action="access.missing", permission=str(one), vital=one.vital)
    vital = [str(one) for one in missing or () if one.vital]
    if vital:
        raise CannotStart(f"permission is missing: {'; '.join(vital)}")
    await _crd_served(client, stop)


async def patiently(step: Callable[[], Awaitable[Found]], stop: asyncio.Event) -> Found | None:
    """The step's result, once the API server lets it have one; None when ``stop`` was set first. Raises TryLater."""
    deadline = time.monotonic() + SERVER_PATIENCE
    while not stop.is_set():
        try:
            return await step()
        except TryLater as error:
            if time.monotonic() > deadline:
                raise
            log.warning("waiting for the API server", action="start.waiting", error=str(error))
        await _pause(stop)
    return None


async def _crd_served(client: Client, stop: asyncio.Event) -> None:
    """Wait until the API server tells of our kind."""
    deadline = time.monotonic() + CRD_PATIENCE
    while not await patiently(lambda: client.discovers(names.OWNER), stop) and not stop.is_set():
        if time.monotonic() > deadline:
            raise CannotStart(f"{names.OWNER.plural}.{names.OWNER.group} is not served: install the chart ccl-crds")
        await _pause(stop)


async def _pause(stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PAUSE):
            await stop.wait()
