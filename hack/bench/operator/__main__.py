"""How many writes, how long, how much memory: this operator and one in the style of Kopf's tutorial, in one run.

Usage: python -m hack.bench.operator [--objects 100] [--foreign 2000] [--only-ours]

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

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.api.schema import crd
from ccl_operator.runtime import rbac
from ccl_operator.runtime.client import path
from hack.bench.operator.api import NAMESPACE, Api, deployments, foreign_secrets
from hack.bench.operator.contenders import PEER, Contender, ours, peer, wait
from hack.bench.operator.nodes import fake_nodes, in_own_network
from hack.cluster.apiserver import ADMIN, OPERATOR, ApiServer, bare_apiserver
from hack.run import main_with_errors

RBAC: Final = "rbac.authorization.k8s.io"
#: Seconds without a write that count as rest.
QUIET: Final = 5.0
#: Changes and deletions that are timed one by one; the 99th percentile wants a hundred.
ROUNDS: Final = 100

Figures = dict[str, str]


class Bench:
    """One API server, one contender, all measurements in order."""

    def __init__(
        self, server: ApiServer, start: Callable[[ApiServer, Path], Contender], log: Path, objects: int
    ) -> None:
        self.server, self.api, self.start, self.log, self.objects = server, Api(server), start, log, objects
        self.figures: Figures = {}
        self.contender = start(server, log)
        self.contender.wait_ready()

    def writes(self) -> list[dict[str, Any]]:
        """Audit events of the contender that changed objects."""
        quiet = {"leases", "events", "selfsubjectaccessreviews", "subjectaccessreviews"}
        found = self.server.writes(self.contender.user)
        return [event for event in found if event["objectRef"]["resource"] not in quiet]

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
            wait("all are promoted", self._all_promoted, every=1.0)
        return self.rest()

    def _all_promoted(self) -> bool:
        listed = (self.api.call("GET", path(names.OWNER, NAMESPACE)) or {})["items"]
        return all(_is_promoted(each) for each in listed)

    def create(self) -> None:
        """All objects at once."""
        count = self.objects
        base, before, started = self.contender.megabytes(), len(self.writes()), time.time()
        self.api.create_many(names.OWNER, deployments(count))
        after = self.promoted()
        took = _stamp(self.writes()[-1]) - started
        self.figures[f"{count} new objects"] = f"{took:.1f} s"
        self.figures["writes for a new object"] = f"{(after - before) / count:.1f}"
        grown = (self.contender.megabytes() - base) * 1000
        children = len([write for write in self.writes() if write["objectRef"]["resource"] != names.OWNER.plural])
        self.figures["memory, empty"] = f"{base:.0f} MB"
        self.figures["memory per object with its children"] = f"{grown / count:.0f} kB ({children // count} children)"

    def change(self) -> None:
        """One image after the other."""
        before, taken, rounds = self.rest(), [], min(ROUNDS, self.objects)
        for number in range(rounds):
            name, image = f"x{number}", f"registry.example/ccl-service:{number + 2}"
            self.api.set_image(name, number + 2)
            taken.append(wait("the change", partial(self._arrived, name, image)) * 1000)
        self.figures["image change → child and status, p50 / p99"] = _spread(taken)
        self.figures["writes for an image change, up to its promotion"] = f"{(self.promoted() - before) / rounds:.1f}"

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
        self.contender.stop()
        self.contender = self.start(self.server, self.log)
        self.contender.wait_ready()
        self.figures["writes after a restart with nothing to do"] = str(self.rest() - before)
        self.contender.stop()
        last = f"x{self.objects - 1}"
        self.api.set_image(last, 1000)
        self.contender = self.start(self.server, self.log)
        ready = self.contender.wait_ready()
        arrived = wait("the change", lambda: self._arrived(last, "registry.example/ccl-service:1000"))
        self.figures["start → ready / change made while down is carried out"] = f"{ready:.1f} / {ready + arrived:.1f} s"

    def foreign(self, count: int) -> None:
        """Secrets of others."""
        self.promoted()
        before = self.contender.megabytes()
        self.api.create_many(names.SECRET, foreign_secrets(count))
        time.sleep(QUIET)
        self.figures[f"memory with {count} foreign Secrets"] = f"{self.contender.megabytes() / before - 1:+.1%}"

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
    return bool(current and told.get("Promoted") == told.get("Ready") == "True")


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


def measure(start: Callable[[ApiServer, Path], Contender], objects: int, foreign: int, folder: Path) -> Figures:
    """All figures of one contender, on an API server of its own."""
    with bare_apiserver(folder, (ADMIN, OPERATOR, PEER)) as server, fake_nodes(server, folder):
        _prepare(server)
        bench = Bench(server, start, folder / "contender.log", objects)
        try:
            bench.create()
            bench.change()
            bench.drift()
            bench.restart()
            bench.foreign(foreign)
            if start is ours:
                bench.failover()
            bench.removal()
        finally:
            bench.contender.kill()
        return bench.figures


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--foreign", type=int, default=2_000)
    parser.add_argument("--only-ours", action="store_true")
    arguments = parser.parse_args()
    ended = in_own_network("hack.bench.operator", sys.argv[1:])
    if ended is not None:
        return ended
    with tempfile.TemporaryDirectory(prefix="ccl-bench-") as folder:
        mine = measure(ours, arguments.objects, arguments.foreign, Path(folder) / "ours")
        other = (
            {} if arguments.only_ours else measure(peer, arguments.objects, arguments.foreign, Path(folder) / "peer")
        )
    print(f"{arguments.objects} objects, load average {os.getloadavg()[0]:.1f} at the end\n")
    print("| what | ccl-operator | Kopf as in its tutorial |\n|---|---|---|")
    for what, figure in mine.items():
        print(f"| {what} | {figure} | {other.get(what, '')} |")
    return 0


if __name__ == "__main__":
    main_with_errors(main)
