"""Steady requests to a service, half on kept connections and half on new ones, counted until told to stop.

Usage: python -m hack.demo.traffic --url BASE_URL --key-file FILE [--rate PER_SECOND] [--seconds N]

Each turn lists leads, which has to work, and asks `/health` which revision is there; that one may say that its pod is
draining. Prints one JSON line every half second with running totals: `{"sent", "failed", "revisions": {revision:
answers}, "errors": [first few]}`. Anything but a 200 within 5 s for the list is a failure. Ends after `--seconds`.
"""

import argparse
import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from hack.demo.keys import root_key

MAX_ERRORS: Final = 5
TIMEOUT: Final = aiohttp.ClientTimeout(total=5)


@dataclass
class Tally:
    """Running totals."""

    sent: int = 0
    failed: int = 0
    revisions: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def fail(self, reason: str) -> None:
        """Count a failure and keep the first few reasons."""
        self.failed += 1
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(reason)

    def line(self) -> str:
        """The totals as one JSON line."""
        return json.dumps(
            {"sent": self.sent, "failed": self.failed, "revisions": dict(self.revisions), "errors": self.errors}
        )


async def ask(session: aiohttp.ClientSession, tally: Tally) -> None:
    """One turn, counted."""
    tally.sent += 1
    try:
        async with session.get("/api/leads?limit=1") as answer:
            if answer.status != 200:
                tally.fail(f"{answer.status}: {(await answer.text())[:200]}")
    except (aiohttp.ClientError, TimeoutError) as error:
        tally.fail(f"{type(error).__name__}: {error}")
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with session.get("/health") as answer:
            tally.revisions[(await answer.json()).get("revision", "")] += 1


async def report(tally: Tally) -> None:
    """Print the totals twice a second, for ever."""
    while True:
        print(tally.line(), flush=True)
        await asyncio.sleep(0.5)


async def run(url: str, headers: Mapping[str, str], rate: float, seconds: float) -> None:
    """Take `rate` turns per second, alternating between a kept and a new connection."""
    tally, end = Tally(), time.monotonic() + seconds
    fresh = aiohttp.TCPConnector(force_close=True)
    async with (
        aiohttp.ClientSession(url, timeout=TIMEOUT, headers=headers) as kept,
        aiohttp.ClientSession(url, timeout=TIMEOUT, headers=headers, connector=fresh) as new,
        asyncio.TaskGroup() as group,
    ):
        reporter = group.create_task(report(tally))
        turn = 0
        while time.monotonic() < end:
            group.create_task(ask((kept, new)[turn % 2], tally))
            turn += 1
            await asyncio.sleep(1 / rate)
        reporter.cancel()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="steady requests, counted")
    parser.add_argument("--url", required=True)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--rate", type=float, default=20)
    parser.add_argument("--seconds", type=float, default=900)
    options = parser.parse_args()
    headers = {"Authorization": f"Bearer {root_key(options.key_file)}"}
    asyncio.run(run(options.url, headers, options.rate, options.seconds))


if __name__ == "__main__":
    main()
