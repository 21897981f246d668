"""What one access line costs, against aiohttp's own access log and structlog, in the same run.

Usage: python -m hack.bench.service.log_line [--lines N]

CPU time of the process, written to a file in a temporary folder. The baseline is a loop that does nothing.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from aiohttp.test_utils import make_mocked_request
from aiohttp.web import Response
from aiohttp.web_log import AccessLogger

from ccl_service.platform.telemetry.access import AccessLog
from ccl_service.platform.telemetry.context import RequestContext
from ccl_service.platform.telemetry.logs import LineSink, configure_logging

LINES: Final = 50_000
ROUTE: Final = "/api/leads/{id}"


async def cpu_us(lines: int, write: Callable[[], object]) -> float:
    """CPU µs per call; every hundredth gives the event loop its turn, as a server under load does."""
    started = time.process_time()
    for number in range(lines):
        write()
        if number % 100 == 99:
            await asyncio.sleep(0)
    return (time.process_time() - started) * 1e6 / lines


async def measure(lines: int, folder: Path) -> dict[str, float]:
    """CPU µs per line by what writes it."""
    context = RequestContext("3f2b8a1c9d4e4f5a8b7c6d5e4f3a2b1c", "4bf92f3577b34da6a3ce929d0e0e4736", "key", "k-1")
    with (folder / "ours").open("w") as ours, (folder / "theirs").open("w") as theirs:
        access = AccessLog(LineSink(ours))
        bare = await cpu_us(lines, lambda: None)
        found = {"access line": await cpu_us(lines, lambda: access.write(context, "GET", ROUTE, 200, 0.0123))}
        configure_logging("info", stream=theirs)
        log = structlog.get_logger("bench")
        fields: dict[str, Any] = {"action": "http:request:answered", "method": "GET", "route": ROUTE}
        found["the same through structlog"] = await cpu_us(
            lines, lambda: log.info("request", request_id=context.request_id, status=200, took_ms=12.3, **fields)
        )
        found["aiohttp's access log"] = await cpu_us(lines, _stock(folder / "stock"))
    return {name: cost - bare for name, cost in found.items()}


def _stock(path: Path) -> Callable[[], object]:
    logger = logging.Logger("stock")
    logger.addHandler(logging.FileHandler(path))
    writer = AccessLogger(logger, AccessLogger.LOG_FORMAT)
    request, response = make_mocked_request("GET", "/api/leads/1"), Response()
    return lambda: writer.log(request, response, 0.0123)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--lines", type=int, default=LINES)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(lines, Path(folder)))
    for name, cost in found.items():
        print(f"{name:<28}{cost:8.2f} µs")


if __name__ == "__main__":
    main()
