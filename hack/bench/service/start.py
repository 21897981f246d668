"""From the start of a process to ready, what it weighs when idle, and how long the worst way out takes.

Usage: python -m hack.bench.service.start [--runs N]

The bare limit is a Python that imports the same web and database libraries and nothing else.
"""

import argparse
import asyncio
import contextlib
import signal
import statistics
import sys
import time

from hack.bench.service.ground import Figure, migrated, report, server
from hack.bench.service.process import ROOT_KEY, Serving, serving

#: Long enough for the first look of every background loop.
IDLE_SECONDS = 5.0
BARE = "import asyncio, aiohttp.web, asyncpg, pydantic, structlog, prometheus_client, resource as r\n"
BARE_MEMORY = BARE + "print(r.getrusage(r.RUSAGE_SELF).ru_maxrss / 1e3)"


async def bare() -> tuple[float, float]:
    """Seconds and MB."""
    began = time.perf_counter()
    made = await asyncio.create_subprocess_exec(sys.executable, "-c", BARE_MEMORY, stdout=asyncio.subprocess.PIPE)
    out, _ = await made.communicate()
    return time.perf_counter() - began, float(out)


async def stuck_stop(found: Serving) -> float:
    """Seconds from SIGTERM to exit 0 while a request's body never ends."""
    _, writer = await asyncio.open_connection("127.0.0.1", found.port)
    head = f"POST /api/leads HTTP/1.1\r\nHost: x\r\nX-API-Key: {ROOT_KEY}\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 9\r\n\r\n{{".encode())
    await writer.drain()
    await asyncio.sleep(0.5)  # time enough to begin with it
    began = time.perf_counter()
    found.handle.send_signal(signal.SIGTERM)
    code = await found.handle.wait()
    taken = time.perf_counter() - began
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    if code != 0:
        raise RuntimeError(f"exit code {code}")
    return taken


async def measure(runs: int) -> list[Figure]:
    """All figures."""
    with server() as url:
        async with migrated(url):
            starts, bares, memory = [], [], []
            for _ in range(runs):
                bares.append(await bare())
                async with serving(url) as found:
                    starts.append(found.started_in)
                    await asyncio.sleep(IDLE_SECONDS)
                    memory.append(found.memory_mb)
            async with serving(url) as found:
                stopped = await stuck_stop(found)
    start, least = statistics.median(starts), statistics.median(b[0] for b in bares)
    weight, light = statistics.median(memory), statistics.median(b[1] for b in bares)
    return [
        Figure("start to ready, target < 1.5 s", f"{start:.2f} s", f"{least:.2f} s", start / least, "of importing"),
        Figure("idle memory, target < 90 MB", f"{weight:.0f} MB", f"{light:.0f} MB", weight / light, "of importing"),
        Figure("SIGTERM to exit 0, a request stuck, target < 30 s", f"{stopped:.1f} s", "5 s drain", stopped / 5, "x"),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.service.start")
    parser.add_argument("--runs", type=int, default=5)
    report("Start, memory, stop", asyncio.run(measure(parser.parse_args().runs)))


if __name__ == "__main__":
    main()
