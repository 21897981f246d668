"""How many writes, how long, how much memory: this operator and one in the style of Kopf's tutorial, in one run.

Usage: python -m hack.bench.operator [--objects 100] [--foreign 2000] [--outage 300] [--only-ours] [--setup-rate 500]

With ``--setup-rate`` the objects are made by an operator that may write as often as said, so that thousands can be had;
all else is measured with another one, with the usual limit.

On a real etcd, kube-apiserver and controllers, with fake nodes whose pods look ready and answer for their readiness
(``nodes``): objects come to rest promoted, with all their children. Needs root. Prints a Markdown table.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import urllib3

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.api.schema import crd
from ccl_operator.config import FASTEST, WRITES, Config, InvalidConfig
from ccl_operator.runtime import rbac
from ccl_operator.runtime.client import path
from hack.bench.operator.api import NAMESPACE, Api, deployments, foreign_secrets
from hack.bench.operator.contenders import PEER, Contender, hasty, ours, peer, wait
from hack.bench.operator.nodes import fake_nodes, in_own_network
from hack.cluster.apiserver import ADMIN, OPERATOR, ApiServer, bare_apiserver
from hack.cluster.audit import Written
from hack.run import main_with_errors

RBAC: Final = "rbac.authorization.k8s.io"
#: Seconds without a write that count as rest.
QUIET: Final = 5.0
#: Changes and deletions that are timed one by one; the 99th percentile wants a hundred.
ROUNDS: Final = 100
#: Seconds from one change to the next: less than the writes of a change take at the operator's own rate limit would
#: measure that limit.
PACE: Final = 1.0
#: For so long, in seconds, an operator is watched that has nothing to do.
IDLE: Final = 20.0

Figures = dict[str, str]
Start = Callable[[ApiServer, Path], Contender]


class Bench:
    """One API server, one contender, all measurements in order."""

    def __init__(self, server: ApiServer, start: Start, log: Path, objects: int) -> None:
        self.server, self.api, self.start, self.log, self.objects = server, Api(server), start, log, objects
        self.figures: Figures = {}
        self.contender = start(server, log)
        self.written = Written(server.audit_log, self.contender.user)
        self.contender.wait_ready()

    def writes(self) -> list[dict[str, Any]]:
        """Audit events of the contender that changed objects."""
        return self.written.events()

    def rest(self) -> int:
        """Wait until nothing has been written for a while; the number of writes so far."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < QUIET:
            now = len(self.writes())
            if now != seen:
                seen, since = now, time.monotonic()
            time.sleep(0.5)
        return seen

    def promoted(self) -> int:
        """Wait until every object is promoted and nothing is written any more; the number of writes so far."""
        if self.contender.user != PEER.name:
            # Each look is a listing of all of them.
            wait(
                "all are promoted, and what they replaced is gone",
                self._all_promoted,
                every=max(1.0, self.objects / 100),
                patience=self.objects * 2,
            )
        return self.rest()

    def _all_promoted(self) -> bool:
        listed = (self.api.call("GET", path(names.OWNER, NAMESPACE)) or {})["items"]
        return all(_is_promoted(each) for each in listed)

    def create_hastily(self, rate: int) -> None:
        """As ``create``, by a process that may write ``rate`` times a second and ends afterwards."""
        self._replace(partial(hasty, rate))
        self.create(f", made at up to {rate} writes/s")
        self._replace(self.start)

    def _replace(self, start: Start) -> None:
        self.contender.stop()
        self.contender = start(self.server, self.log)
        self.contender.wait_ready()

    def create(self, how: str = "") -> None:
        """All objects at once. ``how``: told with the time it took, which is not that of the usual limit then."""
        count = self.objects
        base, before, started = self.contender.megabytes(), len(self.writes()), time.time()
        self.api.create_many(names.OWNER, deployments(count))
        after = self.promoted()
        took = _stamp(self.writes()[-1]) - started
        self.figures[f"{count} new objects{how}"] = f"{took:.1f} s"
        self.figures["writes for a new object"] = f"{(after - before) / count:.1f}"
        grown = (self.contender.megabytes() - base) * 1000
        held = self._held()
        self.figures["memory, empty"] = f"{base:.0f} MB"
        self.figures["memory per object"] = f"{grown / count:.0f} kB, {grown / held:.1f} kB per cached object"
        self.figures["objects in the cache per object"] = f"{held / count:.0f}, {self._made() / count:.0f} made by it"

    def _held(self) -> int:
        """How many objects the operator has in its cache: what carries our labels, and its own kind."""
        listed = [self.api.call("GET", path(kind, NAMESPACE)) for kind in (names.OWNER, *names.CHILDREN)]
        return sum(len(each["items"]) for each in listed if each is not None)

    def _made(self) -> int:
        """How many objects the contender has written, other than its own kind."""
        written = [event["objectRef"] for event in self.writes()]
        return len({(each["resource"], each["name"]) for each in written if each["resource"] != names.OWNER.plural})

    def idle(self) -> None:
        """All is as it should be; every web pod is asked every few seconds all the same."""
        self.rest()
        before = self.contender.cpu_seconds()
        time.sleep(IDLE)
        used = (self.contender.cpu_seconds() - before) / IDLE
        self.figures["CPU with nothing to do"] = f"{used:.1%} of a core"

    def change(self) -> None:
        """One image after the other: one a second, then as fast as they are carried out."""
        before, rounds, what = self.rest(), min(ROUNDS, self.objects), "image change → child and status, p50 / p99"
        asked, taken = self._changes(rounds, PACE, tag=2)
        self.figures[f"{what}, one a second"] = _spread(taken)
        self.figures["the request for it, p50 / p99"] = _spread(asked)
        writes = (self.promoted() - before) / rounds
        self.figures["writes for an image change, up to its promotion"] = f"{writes:.1f}"
        _, taken = self._changes(rounds, 0.0, tag=2 + rounds)
        self.figures[f"{what}, without a pause"] = _spread(taken)
        self.promoted()

    def _changes(self, rounds: int, pace: float, tag: int) -> tuple[list[float], list[float]]:
        """Milliseconds that asking for each took, and carrying it out; the images' tags count up from ``tag``."""
        asked, taken = [], []
        for number in range(rounds):
            name, started = f"x{number}", time.monotonic()
            self.api.set_image(name, number + tag)
            asked.append((time.monotonic() - started) * 1000)
            took = wait("the change", partial(self._arrived, name, _image(number + tag)))
            taken.append(took * 1000)
            time.sleep(max(0.0, pace - took))
        return asked, taken

    def _arrived(self, name: str, image: str) -> bool:
        owner = self.api.get(names.OWNER, name) or {}
        status = owner.get("status") or {}
        if self.contender.user == PEER.name:
            held = self.api.get(names.CONFIG_MAP, f"{name}-env")
            return held is not None and held["data"]["IMAGE"] == image
        return bool(
            status.get("observedGeneration") == owner["metadata"]["generation"]
            and (status.get("candidate") or {}).get("image") == image
        )

    def drift(self) -> None:
        """Children deleted by hand."""
        taken, figure = [], "deleted child → back, p50 / p99"
        for number in range(ROUNDS):
            name = f"x{number % self.objects}"
            self.api.delete(names.SERVICE, name)
            started = time.monotonic()
            while self.api.get(names.SERVICE, name) is None and time.monotonic() - started < QUIET:
                time.sleep(0.01)
            if self.api.get(names.SERVICE, name) is None:
                self.figures[figure] = f"not within {QUIET:.0f} s"
                return
            taken.append((time.monotonic() - started) * 1000)
        self.figures[figure] = _spread(taken)

    def restart(self) -> None:
        """Nothing to do after a restart, and one thing to do after another."""
        before = self.rest()
        self._replace(self.start)
        self.figures["writes after a restart with nothing to do"] = str(self.rest() - before)
        now, most = self.contender.megabytes(), self.contender.megabytes("VmHWM")
        self.figures["memory after a restart; at most until then"] = f"{now:.0f} MB; {most:.0f} MB"
        self.contender.stop()
        last = f"x{self.objects - 1}"
        self.api.set_image(last, 1000)
        self.contender = self.start(self.server, self.log)
        ready = self.contender.wait_ready()
        arrived = wait("the change", partial(self._arrived, last, _image(1000)))
        self.figures["start → ready / change made while down is carried out"] = f"{ready:.1f} / {ready + arrived:.1f} s"

    def foreign(self, count: int) -> None:
        """Secrets of others."""
        self.promoted()
        before = self.contender.megabytes()
        self.api.create_many(names.SECRET, foreign_secrets(count))
        time.sleep(QUIET)
        self.figures[f"memory with {count} foreign Secrets"] = f"{self.contender.megabytes() / before - 1:+.1%}"

    def outage(self, seconds: float) -> None:
        """An API server that stands still, and a change made the moment it goes on."""
        with self.server.standing_still():
            time.sleep(seconds)
        started, how = time.monotonic(), ""
        wait("the API server answers", partial(self._takes_image, "x1", 1001), every=0.1)
        wait("the change", lambda: self.contender.ended is not None or self._arrived("x1", _image(1001)))
        if self.contender.ended is not None:
            how = f", it had ended with {self.contender.ended} and was started again"
            self.contender = self.start(self.server, self.log)
            wait("the change", partial(self._arrived, "x1", _image(1001)))
        figure = f"API server stood still for {seconds:.0f} s → a change is carried out"
        self.figures[figure] = f"{time.monotonic() - started:.1f} s{how}"

    def _takes_image(self, name: str, number: int) -> bool:
        try:
            self.api.set_image(name, number)
        except (RuntimeError, urllib3.exceptions.HTTPError):
            return False
        return True

    def failover(self) -> None:
        """Leader killed, leader asked to end; the standby was ready before."""
        for what, end in (("killed", Contender.kill), ("asked to end", Contender.stop)):
            standby = self.start(self.server, self.log.with_name(f"{what.replace(' ', '-')}.log"))
            standby.wait_ready()
            self.rest()
            self.api.delete(names.SERVICE, "x1")
            wait("the leader repairs", lambda: self.api.get(names.SERVICE, "x1") is not None)
            started = time.monotonic()
            end(self.contender)
            self.api.delete(names.SERVICE, "x1")
            wait("the standby repairs", lambda: self.api.get(names.SERVICE, "x1") is not None)
            self.figures[f"leader {what} → next write"] = f"{time.monotonic() - started:.1f} s"
            self.contender = standby

    def removal(self) -> None:
        """The namespace, with the operator gone first."""
        self.contender.kill()
        self.api.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")
        took = wait("the namespace is gone", lambda: self.api.call("GET", f"/api/v1/namespaces/{NAMESPACE}") is None)
        self.figures["namespace deleted with the operator gone"] = f"{took:.1f} s"


def _is_promoted(owner: dict[str, Any]) -> bool:
    status = owner.get("status") or {}
    told = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    current = status.get("observedGeneration") == owner["metadata"]["generation"]
    retiring = (status.get("rollout") or {}).get("retiring")
    return bool(current and not retiring and told.get("Promoted") == told.get("Ready") == "True")


def _image(tag: int) -> str:
    return f"registry.example/ccl-service:{tag}"


def _stamp(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def _spread(taken: list[float]) -> str:
    return f"{statistics.median(taken):.0f} / {statistics.quantiles(taken, n=100)[98]:.0f} ms"


def _prepare(server: ApiServer) -> None:
    api = Api(server)
    api.create(
        Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"), crd(), None
    )
    api.create(Resource("", "v1", "namespaces", "Namespace"), {"metadata": {"name": NAMESPACE}}, None)
    wait("the CRD", lambda: _served(api), 0.2)
    for manifest in rbac.manifests([NAMESPACE], name="ccl-operator", service_account_namespace="ccl-system"):
        kind = manifest["kind"]
        metadata = {"name": manifest["metadata"]["name"]}
        api.create(Resource(RBAC, "v1", f"{kind.lower()}s", kind), {**manifest, "metadata": metadata})
    subject = {"kind": "User", "apiGroup": RBAC, "name": PEER.name}
    admin = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "cluster-admin"}
    binding = {"metadata": {"name": "peer"}, "roleRef": admin, "subjects": [subject]}
    api.create(Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding"), binding, None)


def _served(api: Api) -> bool:
    try:
        return api.call("GET", f"/apis/{names.GROUP}/{names.VERSION}/ccldeployments") is not None
    except RuntimeError:
        # 429 while the API server prepares the storage of a new kind.
        return False


def measure(start: Start, asked: argparse.Namespace, folder: Path) -> Figures:
    """All figures of one contender, on an API server of its own."""
    with bare_apiserver(folder, (ADMIN, OPERATOR, PEER)) as server, fake_nodes(server, folder):
        _prepare(server)
        bench = Bench(server, start, folder / "contender.log", asked.objects)
        try:
            if start is ours and asked.setup_rate:
                bench.create_hastily(asked.setup_rate)
            else:
                bench.create()
            bench.idle()
            bench.change()
            bench.drift()
            bench.restart()
            bench.foreign(asked.foreign)
            if start is ours:
                bench.failover()
            if asked.outage:
                bench.outage(asked.outage)
            bench.removal()
        finally:
            bench.contender.kill()
        return bench.figures


def _rate(text: str) -> int:
    try:
        return int(Config.from_environment({WRITES: text}).pace.writes)
    except InvalidConfig as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--foreign", type=int, default=2_000)
    parser.add_argument("--outage", type=float, default=0.0, help="seconds that the API server stands still; 0: never")
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument("--setup-rate", type=_rate, default=0, help=f"writes/s while objects are made, to {FASTEST}")
    arguments = parser.parse_args()
    ended = in_own_network("hack.bench.operator", sys.argv[1:])
    if ended is not None:
        return ended
    with tempfile.TemporaryDirectory(prefix="ccl-bench-") as folder:
        mine = measure(ours, arguments, Path(folder) / "ours")
        other = {} if arguments.only_ours else measure(peer, arguments, Path(folder) / "peer")
    print(f"{arguments.objects} objects, load average {os.getloadavg()[0]:.1f} at the end\n")
    print("| what | ccl-operator | Kopf as in its tutorial |\n|---|---|---|")
    for what, figure in mine.items():
        print(f"| {what} | {figure} | {other.get(what, '')} |")
    return 0


if __name__ == "__main__":
    main_with_errors(main)
