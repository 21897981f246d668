"""A cluster whose nodes are fake: real controllers, pods that kwok makes look ready, and web pods that do answer.

Pods get addresses of POD_NETWORK, all of which lead to this machine in a network namespace of its own
(``in_own_network``): the readiness question that the operator asks of each web pod is answered by one server here.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.environment import PORT
from hack.bench.operator.api import NAMESPACE, Api
from hack.cluster import build
from hack.cluster.apiserver import ApiServer
from hack.run import Failure, beside

POD_NETWORK: Final = "10.250.0.0/16"
NODE: Final = Resource("", "v1", "nodes", "Node")
STAGES: Final = Path(__file__).parent / "stages.yaml"
FAKE: Final = "kwok.x-k8s.io/node=fake"
#: Set in the process that runs in a network namespace of its own.
INSIDE: Final = "CCL_BENCH_IN_OWN_NETWORK"
CONTROLLERS: Final = (
    *("deployment-controller", "replicaset-controller", "statefulset-controller", "job-controller"),
    *("endpointslice-controller", "garbage-collector-controller", "namespace-controller"),
    "persistentvolumeclaim-protection-controller",
)


def in_own_network(module: str, arguments: Sequence[str]) -> int | None:
    """Run ``python -m module`` again in a network namespace where every address of POD_NETWORK is local.

    Its exit code; None when this is that process. Raises Failure without root.
    """
    if os.environ.get(INSIDE):
        return None
    if os.geteuid() != 0:
        raise Failure("fake pods need addresses of their own, and those a network namespace", fix="run it as root")
    # Inside there is no way to what they are built from.
    build.node_binary()
    build.kwok_binary()
    # The veth pair is for a default route, without which some programs do not start.
    network = (
        f"ip link set lo up && ip route add local {POD_NETWORK} dev lo && ip link add out type veth peer name nowhere"
        " && ip address add 10.249.0.1/24 dev out && ip link set out up && ip link set nowhere up"
        ' && ip route add default via 10.249.0.2 && exec "$@"'
    )
    command = ["unshare", "--net", "sh", "-c", network, "sh", sys.executable, "-m", module, *arguments]
    return subprocess.run(command, check=False, env=os.environ | {INSIDE: "1"}).returncode


@contextlib.contextmanager
def fake_nodes(server: ApiServer, folder: Path) -> Iterator[None]:
    """Controllers, one fake node for all pods, and the web pods' answers, until the block ends."""
    api = Api(server)
    node = {"metadata": {"name": "fake", "annotations": dict([FAKE.split("=")])}, "spec": {"podCIDR": POD_NETWORK}}
    api.create(NODE, node, None)
    controllers = [
        *(str(build.node_binary()), "kube-controller-manager", f"--kubeconfig={server.kubeconfig}"),
        *("--leader-elect=false", f"--controllers={','.join(CONTROLLERS)}", "--kube-api-qps=500"),
        *("--kube-api-burst=1000", "--concurrent-deployment-syncs=20", "--concurrent-job-syncs=20"),
        *("--concurrent-replicaset-syncs=20", "--concurrent-endpoint-syncs=20", "--secure-port=0"),
    ]
    kwok = [
        *(str(build.kwok_binary()), f"--kubeconfig={server.kubeconfig}", f"--config={STAGES}"),
        *("--manage-all-nodes=false", f"--manage-nodes-with-annotation-selector={FAKE}", "--v=0"),
    ]
    pods = Pods(server)
    with contextlib.ExitStack() as stack:
        for name, command in (("controllers", controllers), ("kwok", kwok)):
            stack.enter_context(beside(command, folder / f"{name}.log"))
        pods.start()
        stack.callback(pods.stop)
        yield


class Pods:
    """Binds every pod to the fake node, and answers for the web pods among them."""

    def __init__(self, server: ApiServer) -> None:
        self._api = Api(server)
        self._revisions: dict[str, str] = {}
        self._stopped = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._watching, self._serving = (
            threading.Thread(target=run, daemon=True) for run in (self._watch, self._serve)
        )

    def start(self) -> None:
        """Begin."""
        self._watching.start()
        self._serving.start()

    def stop(self) -> None:
        """End. The port is free again then; the watch ends with the API server."""
        self._stopped.set()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._serving.join()

    def _watch(self) -> None:
        while not self._stopped.is_set():
            # Whatever ends the stream, the next one begins with all pods again.
            with contextlib.suppress(Exception):
                for event in self._api.watch(names.POD, NAMESPACE):
                    self._heard(event["type"], event["object"])
            time.sleep(0.1)

    def _heard(self, kind: str, pod: dict[str, Any]) -> None:
        metadata, address = pod["metadata"], pod.get("status", {}).get("podIP")
        if kind == "DELETED":
            self._revisions.pop(address or "", None)
        elif address:
            self._revisions[address] = metadata.get("labels", {}).get(names.REVISION_LABEL, "")
        elif not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": "fake"}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
            self._api.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods/{metadata['name']}/binding", body)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_get("/api/monitoring/production-readiness", self._answer)
        runner = web.AppRunner(app, access_log=None)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "0.0.0.0", PORT).start())
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _answer(self, request: web.Request) -> web.Response:
        assert request.transport is not None
        asked = request.transport.get_extra_info("sockname")[0]
        schema = {"own": 1, "epoch": 1, "min_compatible": 1}
        database = {"version_num": 170004, "max_connections": 300}
        report = {"v": 1, "status": "pass", "revision": self._revisions.get(asked, ""), "version": "1.0"}
        checks = [{"id": "DatabaseReachable", "status": "pass"}]
        text = json.dumps({**report, "schema": schema, "database": database, "checks": checks})
        return web.Response(text=text, content_type="application/json")
