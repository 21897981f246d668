"""The operator's process: from signals and environment to an exit code. What runs inside is wired in ``assembly``."""

import asyncio
import secrets
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from ccl_operator.config import Config, InvalidConfig
from ccl_operator.runtime import credentials
from ccl_operator.runtime.assembly import Operator
from ccl_operator.runtime.errors import ApiError
from ccl_operator.runtime.place import Place
from ccl_operator.runtime.start import CannotStart

log = structlog.get_logger(__name__)

FAILED: Final = 1


@dataclass(frozen=True)
class Options:
    """What the command line says. ``namespaces`` empty: all of them."""

    namespaces: tuple[str, ...]
    health_port: int
    lease_namespace: str
    lease: str


async def run(options: Options, environment: Mapping[str, str]) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code: 0 after a signal, 1 when it cannot go on."""
    stop = asyncio.Event()
    _on_signals(stop)
    place = Place(
        namespaces=options.namespaces,
        lease_namespace=options.lease_namespace,
        lease=options.lease,
        # Never the same twice: a container that starts again in its pod is not the one that held the Lease.
        identity=f"{environment.get('POD_NAME') or socket.gethostname()}_{secrets.token_hex(4)}",
    )
    try:
        config = Config.from_environment(environment)
        configuration = await credentials.load(environment)
        async with Operator.connected(configuration, place, config) as operator:
            return await operator.run(stop, options.health_port, lambda: _on_signals(stop))
    except (InvalidConfig, credentials.NoCluster, CannotStart, ApiError, OSError) as error:
        log.error("cannot start", action="start.failed", error=str(error))
        return FAILED


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
