"""How evenly 256 callers are served by 10 connections: the service's queue against that of asyncpg's own pool.

Usage: python -m hack.bench.service.fairness [--rounds N] [--requests N]

Both are asked for one lead by callers who each wait for their answer, in turns (ABBA). Percentiles are of one round;
shown is the median of the rounds. A request that the service turns away (503) is told apart, not counted as served.
"""

import argparse
import asyncio
import contextlib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hack.bench.service.callers import Answer, ask, connected
from hack.bench.service.contenders import OURS, RAW, Contender, prepare, reads, running
from hack.bench.service.ground import Figure, report, server
from hack.bench.service.process import ROOT_KEY

CALLERS: Final = 256
TARGET: Final = 2.5


@dataclass(frozen=True, slots=True)
class Round:
    """Latencies in milliseconds of what was served, and how many requests were turned away."""

    p50: float
    p99: float
    refused: int

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> "Round":
        """Raises SystemExit for an answer that is neither a lead nor 503."""
        served = [answer.seconds * 1000 for answer in answers if answer.status == 200]
        refused = sum(answer.status == 503 for answer in answers)
        if len(served) + refused != len(answers):
            raise SystemExit(f"answers with {sorted({answer.status for answer in answers})}")
        cuts = statistics.quantiles(served, n=100)
        return cls(cuts[49], cuts[98], refused)


def figure(contender: Contender, rounds: Sequence[Round], requests: int) -> Figure:
    """p99 in terms of p50."""
    p50, p99 = statistics.median(r.p50 for r in rounds), statistics.median(r.p99 for r in rounds)
    refused = sum(r.refused for r in rounds) / (len(rounds) * requests)
    measured = f"p99 {p99:.0f} ms, {refused:.1%} turned away"
    ratio = statistics.median(r.p99 / r.p50 for r in rounds)
    return Figure(contender.name, measured, f"p50 {p50:.0f} ms", ratio, f"p99 / p50, target {TARGET}")


async def measure(url: str, rounds: int, requests: int) -> list[Figure]:
    """Both figures."""
    ground = await prepare(url)
    asked = reads(ground, ROOT_KEY)
    found: dict[Contender, list[Round]] = {OURS: [], RAW: []}
    async with contextlib.AsyncExitStack() as stack:
        callers = {}
        for one in found:
            serving = await stack.enter_async_context(running(one, url, ""))
            callers[one] = await stack.enter_async_context(connected(serving.port, CALLERS))
            # a listener may take seconds to accept so many at once
            await ask(callers[one], asked, requests)
        for turn in range(rounds):
            for one in found if turn % 2 else reversed(found):
                found[one].append(Round.of(await ask(callers[one], asked, requests)))
    return [figure(one, latest, requests) for one, latest in found.items()]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.service.fairness")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=10_000, help="for each server and round")
    arguments = parser.parse_args()
    with server() as url:
        report(f"{CALLERS} callers on a pool of 10", asyncio.run(measure(url, arguments.rounds, arguments.requests)))


if __name__ == "__main__":
    main()
