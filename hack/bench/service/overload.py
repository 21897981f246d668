"""Four times the load that one process can take: what is still served, how soon the rest is told, who goes first.

Usage: python -m hack.bench.service.overload [--seconds N] [--factor F]

The peak is the goodput of 32 callers who wait for their answers. Overload is a fixed rate of ``factor`` times that,
whatever is answered. Served counts only what came back with 2xx within two seconds. How much of the peak is left is
asked with one kind of request; who goes first with a mix, of which the dearest kind is the one that is served, so that
there the number of requests says little. The generator (load/, built with Go) has a CPU of its own; service and
PostgreSQL share what is left, at the peak and under overload alike, so that the ratio says something about them and
not about who asks.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from hack.bench.service.ground import Figure, migrated, report, server, statement
from hack.bench.service.process import ROOT_KEY, Serving, serving
from hack.cluster import cache
from hack.cluster.build import require_go
from hack.run import Command, run

SOURCE: Final = Path(__file__).parent / "load"
CALLERS: Final = 32
ONE_KIND: Final = ("intake",)
#: Of ten requests.
MIX: Final = ("intake",) * 5 + ("read",) * 4 + ("export",)
MOST_CONNECTIONS: Final = 2000
#: How long the generator may take beyond what it was asked for.
SLACK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a kind of request got. Latencies in seconds, from when the request was due."""

    served: Sequence[float]
    refused: Sequence[float]
    late: int
    failed: dict[str, int]

    @property
    def asked(self) -> int:
        """All of them."""
        return len(self.served) + len(self.refused) + self.late + sum(self.failed.values())


@dataclass(frozen=True)
class Run:
    """What became of one run. ``alive``: latencies of the answers to /live, of ``probes``; ``cpu`` of the service."""

    seconds: float
    kinds: dict[str, Outcome]
    alive: Sequence[float]
    probes: int
    cpu: float

    @property
    def served(self) -> int:
        """Requests served in time."""
        return sum(len(one.served) for one in self.kinds.values())

    @property
    def refused(self) -> int:
        """Requests turned away."""
        return sum(len(one.refused) for one in self.kinds.values())

    @property
    def asked(self) -> int:
        """All requests."""
        return sum(one.asked for one in self.kinds.values())

    @property
    def goodput(self) -> float:
        """Served in time each second."""
        return self.served / self.seconds


@dataclass(frozen=True)
class Generator:
    """The program that asks ``found``, on a CPU of its own where there is more than one."""

    program: Path
    cpu: int | None
    found: Serving
    lead: str

    def run(self, name: str, mix: Sequence[str], seconds: float, *, connections: int, rate: float = 0.0) -> Run:
        """Ask for so long. ``name`` makes addresses that no other run has; ``rate`` 0: each waits for its answer."""
        pinned = [] if self.cpu is None else ["taskset", "-c", str(self.cpu)]
        options = {
            "address": f"127.0.0.1:{self.found.port}",
            "key": ROOT_KEY,
            "lead": self.lead,
            "run": name,
            "mix": ",".join(mix),
            "connections": connections,
            "rate": rate,
            "for": f"{seconds}s",
        }
        command: Command = [*pinned, self.program, *(f"-{option}={value}" for option, value in options.items())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            program.stdout.readline()  # the connections are there
            before = self.found.cpu_seconds()
            told, _ = program.communicate(timeout=seconds + SLACK_SECONDS)
        return _read(json.loads(told), seconds, self.found.cpu_seconds() - before)

    def overload(self, name: str, mix: Sequence[str], seconds: float, factor: float) -> tuple[Run, Run]:
        """The peak, and what is left of it under ``factor`` times as much."""
        peak = self.run(f"{name}p", mix, seconds, connections=CALLERS)
        return peak, self.run(f"{name}o", mix, seconds, connections=MOST_CONNECTIONS, rate=factor * peak.goodput)


def _read(told: dict[str, Any], seconds: float, cpu: float) -> Run:
    kinds = {
        name: Outcome(_seconds(one["served"]), _seconds(one["refused"]), one["late"], one["failed"])
        for name, one in told["kinds"].items()
    }
    return Run(seconds, kinds, _seconds(told["live"]["well"]), told["live"]["asked"], cpu)


def _seconds(microseconds: Sequence[int]) -> Sequence[float]:
    return [one / 1e6 for one in microseconds]


def generator() -> Path:
    """The program; built when its source has changed."""

    def build(folder: Path) -> None:
        require_go()
        command: Command = ["go", "build", "-trimpath", "-o", folder / "load", "."]
        run(command, cwd=SOURCE, env={"CGO_ENABLED": "0"}, doing="building the generator")

    return cache.entry("load", cache.key(SOURCE), build) / "load"


def part_with_one_cpu() -> int | None:
    """Leave a CPU to the generator: this process, and what it starts from now on, has the others. None: only one."""
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return None
    os.sched_setaffinity(0, others)
    return first


async def some_lead(url: str) -> str:
    """The id of one of 1,000 leads."""
    await statement(
        url,
        "INSERT INTO leads (id, source, first_name, email, requested_at)"
        " SELECT gen_random_uuid(), 'api', 'Ann', n || '@example.com', now() FROM generate_series(1, 1000) AS n",
        "INSERT INTO lead_events (lead_id, kind, actor) SELECT id, 'created', 'bench' FROM leads",
    )
    con = await asyncpg.connect(url)
    try:
        return str(await con.fetchval("SELECT id FROM leads LIMIT 1"))
    finally:
        await con.close()


async def measure(seconds: float, factor: float) -> list[Figure]:
    """All figures."""
    program, cpu = generator(), part_with_one_cpu()
    with server() as url:
        async with migrated(url), serving(url, "--no-jobs") as found:
            asking = Generator(program, cpu, found, await some_lead(url))
            asking.run("w", MIX, 2.0, connections=CALLERS)  # what is slow only once is over
            one = asking.overload("i", ONE_KIND, seconds, factor)
            mixed = asking.overload("m", MIX, seconds, factor)
    return [*of_one_kind(*one), *of_the_mix(*mixed)]


def of_one_kind(peak: Run, over: Run) -> list[Figure]:
    """How much of the peak is left, and what a refusal costs."""
    cost = peak.cpu / peak.served
    refusal = (over.cpu - cost * over.served) / max(1, over.refused)
    ratio = over.goodput / peak.goodput
    return [
        Figure("intake: served in time, target 0.9", f"{over.goodput:.0f}/s", f"{peak.goodput:.0f}/s", ratio, "kept"),
        Figure("served, p99", _p99(over.kinds["intake"].served), _p99(peak.kinds["intake"].served), 0, ""),
        Figure(
            "refused, p99, target 50 ms", _p99(over.kinds["intake"].refused), "", over.refused / over.asked, "of all"
        ),
        Figure(
            "CPU of the service for a refusal", f"{refusal * 1e6:.0f} µs", f"{cost * 1e6:.0f} µs", refusal / cost, ""
        ),
        _probes(peak, over),
    ]


def of_the_mix(peak: Run, over: Run) -> list[Figure]:
    """Who goes first."""
    lines = []
    for kind, one in over.kinds.items():
        told = f"503 within {_p99(one.refused)}" if one.refused else "none refused"
        rest = "".join(f", {count} {what}" for what, count in one.failed.items())
        text = f"{len(one.served)} of {one.asked} in time, p99 {_p99(one.served)}; {told}; {one.late} late{rest}"
        before = peak.kinds[kind]
        bare = f"{len(before.served)}, p99 {_p99(before.served)}"
        lines.append(Figure(f"mix: {kind}", text, bare, len(one.served) / len(before.served), "kept"))
    return [*lines, _probes(peak, over)]


def _probes(peak: Run, over: Run) -> Figure:
    well = f"{len(over.alive)} of {over.probes}, p99 {_p99(over.alive)}"
    return Figure("/live", well, f"p99 {_p99(peak.alive)}", len(over.alive) / over.probes, "answered")


def _p99(seconds: Sequence[float]) -> str:
    if len(seconds) < 2:
        return "-"
    return f"{statistics.quantiles(seconds, n=100)[98] * 1000:.0f} ms"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m hack.bench.service.overload")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--factor", type=float, default=4.0)
    args = parser.parse_args()
    report(f"Overload, {args.factor:g} times the peak", asyncio.run(measure(args.seconds, args.factor)))


if __name__ == "__main__":
    main()
