"""Four times the load that one process can take: what is still served, how soon the rest is told, who goes first.

Usage: python -m hack.bench.service.overload [--seconds N] [--factor F]

The peak is the goodput of 32 callers who wait for their answers. Overload is a fixed rate of ``factor`` times that,
whatever is answered. Served counts only what came back with 2xx within two seconds.
"""

import argparse
import asyncio
import itertools
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import asyncpg

from hack.bench.service.ground import Figure, migrated, report, server, statement
from hack.bench.service.process import ROOT_KEY, serving

#: Slower than this is slow (the alert of the deployment guide).
IN_TIME = 2.0
CALLERS = 32
MOST_CONNECTIONS = 2000
#: Of ten requests.
MIX = ("intake",) * 5 + ("read",) * 4 + ("export",)


@dataclass
class Outcome:
    """What a kind of request got. Latencies in seconds."""

    served: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    late: int = 0
    failed: Counter[str] = field(default_factory=Counter)


class Client(asyncio.Protocol):
    """One connection with at most one request on its way; as little work as can be, to leave the CPU to the service."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._told: Callable[[int], None] | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Called by the loop."""
        self._transport = None
        self._tell(0)

    def send(self, request: bytes, told: Callable[[int], None]) -> None:
        """``told`` gets the status, 0 for a broken connection."""
        self._told, self._data = told, b""
        if self._transport is None:
            self._tell(0)
        else:
            self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Called by the loop."""
        self._data += data
        head, found, body = self._data.partition(b"\r\n\r\n")
        if found:
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            if len(body) >= int(length or 0):
                self._tell(int(self._data[9:12]))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _tell(self, status: int) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(status)


class Load:
    """Requests of the mix towards one process, and what became of them."""

    def __init__(self, port: int, run: str, lead: str) -> None:
        """``run`` makes addresses that no other run has; ``lead`` is the id that is read."""
        self._port, self._run, self._lead = port, run, lead
        self._numbers = itertools.count()
        self._free: list[Client] = []
        self._open = 0
        self.outcomes: dict[str, Outcome] = defaultdict(Outcome)

    async def connect(self, count: int) -> None:
        """Open so many connections more."""
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, client = await loop.create_connection(Client, "127.0.0.1", self._port)
            self._free.append(client)
            self._open += 1

    def close(self) -> None:
        """Hang up everywhere."""
        for client in self._free:
            client.close()

    async def closed_loop(self, seconds: float) -> float:
        """Callers who wait for their answers; how many got one each second."""
        end = time.perf_counter() + seconds
        await asyncio.gather(*(self._caller(end) for _ in range(CALLERS)))
        return self.goodput(seconds)

    async def open_loop(self, rate: float, seconds: float) -> float:
        """``rate`` requests a second whatever comes back; how many got an answer in time each second."""
        loop, started = asyncio.get_running_loop(), time.perf_counter()
        sent = 0
        while (now := time.perf_counter() - started) < seconds:
            while sent < now * rate:
                sent += 1
                self._one(loop.create_future())
            await asyncio.sleep(0.002)
        await asyncio.sleep(IN_TIME + 1)
        return self.goodput(seconds)

    def goodput(self, seconds: float) -> float:
        """Served in time each second."""
        return sum(len(o.served) for o in self.outcomes.values()) / seconds

    async def _caller(self, end: float) -> None:
        while time.perf_counter() < end:
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._one(done)
            await done

    def _one(self, done: "asyncio.Future[None]") -> None:
        number = next(self._numbers)
        kind = MIX[number % len(MIX)]
        outcome, began = self.outcomes[kind], time.perf_counter()
        if not self._free:
            outcome.failed["no free connection"] += 1
            done.set_result(None)
            return
        client = self._free.pop()

        def told(status: int) -> None:
            taken = time.perf_counter() - began
            if status:
                self._free.append(client)
            if 200 <= status < 300 and taken <= IN_TIME:
                outcome.served.append(taken)
            elif 200 <= status < 300:
                outcome.late += 1
            elif status == 503:
                outcome.refused.append(taken)
            else:
                outcome.failed[str(status)] += 1
            if not done.done():
                done.set_result(None)

        client.send(self._request(kind, number), told)

    def _request(self, kind: str, number: int) -> bytes:
        key = f"Host: x\r\nX-API-Key: {ROOT_KEY}\r\n"
        if kind == "read":
            return f"GET /api/leads/{self._lead}/timeline HTTP/1.1\r\n{key}\r\n".encode()
        if kind == "export":
            return f"GET /api/leads?limit=50 HTTP/1.1\r\n{key}\r\n".encode()
        body = f'{{"first_name":"Ana","email":"{self._run}{number}@example.org"}}'
        head = f"POST /api/leads HTTP/1.1\r\n{key}Content-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


async def probe(port: int, stop: asyncio.Event) -> list[tuple[int, float]]:
    """/live ten times a second on a connection of its own: status and seconds of each."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, "127.0.0.1", port)
    found = []
    while not stop.is_set():
        told: asyncio.Future[int] = loop.create_future()
        began = time.perf_counter()
        client.send(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n", told.set_result)
        found.append((await told, time.perf_counter() - began))
        await asyncio.sleep(0.1)
    client.close()
    return found


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
    with server() as url:
        async with migrated(url), serving(url, "--no-jobs") as found:
            lead = await some_lead(url)
            await _closed(found.port, "w", lead, 2.0)  # what is slow only once is over
            before = found.cpu_seconds()
            peak = await _closed(found.port, "p", lead, seconds)
            cpu = (found.cpu_seconds() - before) / (peak * seconds)
            load = Load(found.port, "o", lead)
            await load.connect(MOST_CONNECTIONS)
            stop = asyncio.Event()
            probing = asyncio.create_task(probe(found.port, stop))
            goodput = await load.open_loop(factor * peak, seconds)
            stop.set()
            alive = await probing
            load.close()
    return figures(load.outcomes, alive, peak=peak, goodput=goodput, cpu=cpu)


async def _closed(port: int, run: str, lead: str, seconds: float) -> float:
    load = Load(port, run, lead)
    await load.connect(CALLERS)
    try:
        return await load.closed_loop(seconds)
    finally:
        load.close()


def figures(
    outcomes: Mapping[str, Outcome], alive: Sequence[tuple[int, float]], *, peak: float, goodput: float, cpu: float
) -> list[Figure]:
    """What the report shows."""
    lines = [Figure("served in time, target 0.9", f"{goodput:.0f}/s", f"{peak:.0f}/s", goodput / peak, "of the peak")]
    lines.append(Figure("CPU of the service for a request at the peak", f"{cpu * 1e6:.0f} µs", "", 0, ""))
    for kind in ("intake", "read", "export"):
        one = outcomes[kind]
        asked = len(one.served) + len(one.refused) + one.late + one.failed.total()
        told = f"503 within {_p99(one.refused)}" if one.refused else "none refused"
        rest = "".join(f", {count} {what}" for what, count in one.failed.items())
        text = f"{len(one.served)} of {asked} in time, p99 {_p99(one.served)}; {told}; {one.late} late{rest}"
        lines.append(Figure(kind, text, "", len(one.served) / max(1, asked), "served"))
    well = sum(status == 200 for status, _ in alive)
    lines.append(
        Figure("/live", f"{well} of {len(alive)}, p99 {_p99([s for _, s in alive])}", "", well / len(alive), "answered")
    )
    return lines


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
