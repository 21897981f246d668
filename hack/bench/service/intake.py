"""CPU time of one request through everything that surrounds a handler: the service, its peers, and nothing at all.

Usage: python -m hack.bench.service.intake [--rounds N] [--requests N] [--only NAME …]
The peers come with the extra ``bench``: .venv/bin/pip install -e '.[dev,bench]'

Every contender is a process (or a tree of them) with the same pool and statements, proven to have the same features
(``parity``) before it is measured. What counts is the CPU time of the whole tree, which depends on what else runs much
less than the clock does, without what it uses when nobody asks. In each round all are asked in turn, in every second
round backwards (ABBA); a figure is the median of the rounds, with the lowest and highest behind it.
"""

import argparse
import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Final

from hack.bench.service.callers import connected, served
from hack.bench.service.contenders import CONTENDERS, OURS, RAW, Contender, Ground, intakes, prepare, reads, redis
from hack.bench.service.contenders import running as run
from hack.bench.service.ground import Figure, report, server
from hack.bench.service.parity import probe
from hack.bench.service.process import ROOT_KEY, Serving
from hack.packages import ensure_programs

CALLERS: Final = 8
#: Requests that nobody counts, for each server and kind.
WARM_UP: Final = 400
#: How long everybody is watched doing nothing. A clock tick of CPU time (10 ms) is half a thousandth of it.
IDLE_SECONDS: Final = 20.0

#: What is asked, and how large a part of the requests it takes: an intake costs several times a read.
Kind = tuple[Callable[[Ground], Iterator[bytes]], float]
KINDS: Final[Mapping[str, Kind]] = {
    "read, root key": (lambda ground: reads(ground, ROOT_KEY), 1.0),
    "read, scoped key": (lambda ground: reads(ground, ground.scoped), 1.0),
    "intake, root key": (lambda ground: intakes(ground, ROOT_KEY), 0.4),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds a request, one figure a round. Comparisons are made round by round: what disturbs a round
    disturbs both sides of it."""

    rounds: Sequence[float]

    def more_than(self, other: "Cost") -> float:
        """Microseconds."""
        return statistics.median(mine - its for mine, its in zip(self.rounds, other.rounds, strict=True))

    def times(self, other: "Cost") -> float:
        """How many times the other's."""
        return statistics.median(mine / its for mine, its in zip(self.rounds, other.rounds, strict=True))

    def __str__(self) -> str:
        return f"{statistics.median(self.rounds):.0f} µs ({min(self.rounds):.0f} to {max(self.rounds):.0f})"


async def idling(servers: Mapping[Contender, Serving]) -> dict[Contender, float]:
    """CPU seconds that each uses in a second without requests."""
    before = {contender: found.cpu_seconds() for contender, found in servers.items()}
    await asyncio.sleep(IDLE_SECONDS)
    return {one: (found.cpu_seconds() - before[one]) / IDLE_SECONDS for one, found in servers.items()}


async def measured(found: Serving, idle: float, requests: Iterator[bytes], count: int) -> float:
    """CPU microseconds for each request that was served; what was turned away is paid for and not counted.

    ``idle`` is not the requests' doing: on a machine that is slow to serve them it would weigh the more.
    """
    async with connected(found.port, CALLERS) as clients:
        began, before = time.perf_counter(), found.cpu_seconds()
        answered = await served(clients, requests, count)
        used = found.cpu_seconds() - before
    return (used - idle * (time.perf_counter() - began)) / answered * 1e6


async def compare(
    servers: Mapping[Contender, Serving],
    idle: Mapping[Contender, float],
    requests: Mapping[Contender, Iterator[bytes]],
    rounds: int,
    count: int,
) -> dict[Contender, Cost]:
    """What each costs."""
    for contender, found in servers.items():
        await measured(found, 0.0, requests[contender], WARM_UP)
    costs: dict[Contender, list[float]] = {contender: [] for contender in servers}
    for turn in range(rounds):
        for one in sorted(servers, key=CONTENDERS.index, reverse=bool(turn % 2)):
            costs[one].append(await measured(servers[one], idle[one], requests[one], count))
    return {contender: Cost(found) for contender, found in costs.items()}


@contextlib.asynccontextmanager
async def all_of(
    wanted: Sequence[Contender], ground: Ground, redis_url: str
) -> AsyncIterator[dict[Contender, Serving]]:
    """All of them running, each proven to be what it is said to be."""
    async with contextlib.AsyncExitStack() as stack:
        servers = {one: await stack.enter_async_context(run(one, ground.url, redis_url)) for one in wanted}
        for contender, found in servers.items():
            if contender != RAW:
                await probe(found.port, ground)
        yield servers


def figures(kind: str, costs: Mapping[Contender, Cost]) -> Iterator[Figure]:
    """The service beside the bare limit, peers beside the service with the same lines."""
    for contender, cost in costs.items():
        what = f"{kind}: {contender.name}"
        if contender.command == OURS.command and RAW in costs:
            raw = costs[RAW]
            text = f"{cost}, {cost.more_than(raw):+.0f} µs"
            yield Figure(what, text, f"{RAW.name}: {raw}", cost.times(raw), "times it")
        same = replace(OURS, level=contender.level)
        if contender.peer and same in costs:
            yield Figure(what, str(cost), f"{same.name}: {costs[same]}", cost.times(costs[same]), "times it")


async def measure(url: str, redis_url: str, wanted: Sequence[Contender], rounds: int, requests: int) -> list[Figure]:
    """All figures."""
    ground = await prepare(url)
    async with all_of(wanted, ground, redis_url) as servers:
        idle = await idling(servers)
        found = [Figure(f"idle: {one.name}", f"{idle[one] * 1000:.1f} ms CPU a second", "", 0, "") for one in servers]
        for kind, (make, share) in KINDS.items():
            asked = {contender: make(ground) for contender in servers}
            found += figures(kind, await compare(servers, idle, asked, rounds, int(requests * share)))
        return found


def require_programs(wanted: Sequence[Contender]) -> None:
    """Raises SystemExit when a contender's program is not installed; Redis comes from Debian, as for the tests."""
    ensure_programs({"redis-server": "redis-server"})
    missing = sorted({one.command[1] for one in wanted if find_spec(one.command[1]) is None})
    if missing:
        raise SystemExit(f"{', '.join(missing)}: not installed; .venv/bin/pip install -e '.[dev,bench]'")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.service.intake")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--requests", type=int, default=2500, help="for each server, kind and round")
    names = [one.name for one in CONTENDERS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="NAME", help=", ".join(names))
    arguments = parser.parse_args()
    wanted = [one for one in CONTENDERS if one.name in arguments.only]
    require_programs(wanted)
    with server() as url, redis() as redis_url:
        found = asyncio.run(measure(url, redis_url, wanted, arguments.rounds, arguments.requests))
        report("CPU time of one request", found)


if __name__ == "__main__":
    main()
