"""The native node behind the verbs of provider.py: one kubeadm node in namespaces of its own.

init.py is its first process, teardown.py its end, node_images.py what it runs on; this module puts them in order.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.cluster import build, cache, memory
from hack.cluster.native import cgroups, identity, node_images, requirements, teardown
from hack.cluster.native.layout import (
    AUDIT_LOG,
    FILES,
    HOST_ADDRESS,
    HOST_LINK,
    NODE_ADDRESS,
    PREFIX,
    PRIVATE_FOLDERS,
    SOCKET,
    STATE,
)
from hack.cluster.provider import Cluster, kubeconfig_file
from hack.files import write_private
from hack.run import Failure, progress, run, start_detached, tail, wait_until

ROOT: Final = FILES.parents[3]
#: The images archive that the node was made from.
VERSION_FILE: Final = STATE / "version"
#: What has to be available before an ordinary pod can run with DNS and volumes.
ADDONS: Final = (("kube-system", "coredns"), ("local-path-storage", "local-path-provisioner"))
#: Seconds that a node gets to mend itself before it is made again, which takes longer.
MENDING: Final = 25.0
#: Faults that may pass by themselves.
_PASSING: Final = ("its API server is not ready", "its node is not Ready")


@dataclass(frozen=True)
class Native:
    """The native node."""

    def prepare(self) -> None:
        """Debian packages and the node's images; `up` has the programs built beside it."""
        requirements.require()
        _images()

    def up(self) -> Cluster:
        """Reuse the healthy node; take down what is left of any other; make a new one."""
        requirements.require()
        if self.current() is None:
            requirements.require_room()
        with build.building():
            images = _images()
            with cache.lock("cluster"):
                _reuse_or_make(build.node_folder(), images)
            return _cluster()

    def down(self) -> None:
        """Remove every trace of the node; the cache folder stays."""
        if not teardown.traces():
            print("  - there is no node", flush=True)
            return
        if os.geteuid() != 0:
            raise Failure("removing the native cluster needs root", fix="run as root")
        with cache.lock("cluster"):
            teardown.remove_everything()
            kubeconfig_file().unlink(missing_ok=True)
            teardown.require_gone()
        print("  - the node is gone; the cache stays", flush=True)

    def current(self) -> Cluster | None:
        """The node, when it is healthy."""
        return None if _unhealthy(None) else _cluster()

    def loaded(self, references: Sequence[str]) -> frozenset[str]:
        """Those that containerd lists."""
        with cache.lock("cluster", shared=True):
            return frozenset(set(references).intersection(_ctr("images", "ls", "-q").split()))

    def load(self, archives: Sequence[Path]) -> None:
        """Import them into containerd."""
        with cache.lock("cluster", shared=True):  # nobody takes the node down meanwhile
            for archive in archives:
                _ctr("images", "import", str(archive))


def _images() -> Path:
    """The archive that the node is made from."""
    with ThreadPoolExecutor(1) as pool:  # mmdebstrap while Go compiles
        root = pool.submit(node_images.root_file_system)
        build.node_folder()
        root.result()
    return node_images.archive()


def _cluster() -> Cluster:
    return Cluster(
        provider="native",
        kubeconfig=kubeconfig_file(),
        kubectl=build.kubectl_binary(),
        helm=build.helm_binary(),
        audit_log=("cat", str(AUDIT_LOG)),
        enforces_network_policy=False,
    )


def _unhealthy(version: str | None) -> str | None:
    """Why the node that is there cannot be used, None when it can. ``version``: the images it must be made from."""
    if identity.living() is None:
        return "its processes are gone"
    if not (kubeconfig_file().exists() and VERSION_FILE.exists()):
        return "it was never finished"
    if version and VERSION_FILE.read_text() != version:
        return "it is of another version"
    for what, path in zip(_PASSING, ("/readyz", "/api/v1/nodes/ccl"), strict=True):
        done = subprocess.run(
            [build.kubectl_binary(), "--kubeconfig", kubeconfig_file(), "--request-timeout=10s", "get", "--raw", path],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode or (path != "/readyz" and not node_is_ready(done.stdout)):
            return what
    return None


def _settled(version: str) -> str | None:
    """_unhealthy, with time for a node that is mending itself: init.py starts again what was killed."""
    deadline = time.monotonic() + MENDING
    while (why_not := _unhealthy(version)) in _PASSING and time.monotonic() < deadline:
        time.sleep(0.5)
    return why_not


def node_is_ready(node: str) -> bool:
    """Whether a Node object (JSON) has the condition Ready=True."""
    conditions = json.loads(node).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _in_node(*command: str | Path, mounts: bool = True) -> list[str]:
    """A command line that runs in the node's network, and in its mount and pid namespaces too unless told otherwise."""
    first = identity.living()
    if first is None:
        raise Failure("the node's first process has ended", fix="make up")
    # Not `ip netns exec`: that remounts /sys and hides the control groups.
    spaces = ["--net", "--mount", "--pid"] if mounts else ["--net"]
    return ["nsenter", f"--target={first.pid}", *spaces, *map(str, command)]


def _ctr(*arguments: str) -> str:
    return run(_in_node("ctr", "--address", SOCKET, "--namespace", "k8s.io", *arguments), doing=f"ctr {arguments[0]}")


def _reuse_or_make(programs: Path, images: Path) -> None:
    why_not = _settled(images.parent.name)
    if why_not is None:
        print("  - the node is running and healthy: reused", flush=True)
        return
    if left := teardown.traces():
        print(f"  - removing an earlier node ({why_not}): {', '.join(left)}", flush=True)
        teardown.remove_everything()
    memory.remember("native")
    _make(programs, images)


def _make(programs: Path, images: Path) -> None:
    with progress("starting the node", usually="15 s"):
        _write_state()
        _start_first_process(programs)
        _connect()
        wait_until(_containerd_answers, timeout=30, what="containerd answers")
        _ctr("images", "import", str(images))
    with progress("kubeadm init", usually="20 s"):
        _kubeadm_init(programs)
    with progress("waiting for DNS and volumes", usually="15 s"):
        _finish()
    VERSION_FILE.write_text(images.parent.name)


def _write_state() -> None:
    teardown.make_mount_points(list(PRIVATE_FOLDERS))
    for name in ("cni", "volumes", "audit", "audit-log"):
        (STATE / name).mkdir(parents=True, exist_ok=True)
    shutil.copy(FILES / "audit.yaml", STATE / "audit" / "policy.yaml")
    shutil.copy(FILES / "cni.conflist", STATE / "cni" / "10-ccl.conflist")
    (STATE / "resolv.conf").touch()
    (STATE / "kubeadm.yaml").write_text(node_images.render("kubeadm.yaml"))


def _start_first_process(programs: Path) -> None:
    """Start init.py in its namespaces and control groups, detached from this process."""
    enter = " && ".join(f"echo 0 > {group}/cgroup.procs" for group in cgroups.create())
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    init = [*unshare, sys.executable, "-m", "hack.cluster.native.init", str(programs)]
    log = STATE / "init.log"
    log.unlink(missing_ok=True)
    pid = start_detached(["sh", "-c", f'{enter} && exec "$@"', "sh", *init], cwd=ROOT, log=log)

    def started() -> bool:
        if identity.of(pid) is None:
            raise Failure(f"the node's first process ended at once:\n{tail(log.read_text(errors='replace'))}")
        return identity.living() is not None

    wait_until(started, timeout=20, what="the node's first process")


def _connect() -> None:
    """A veth pair between host and node: the API server and pods are reached from here at the node's address."""
    first = identity.living()
    assert first is not None
    run(["ip", "link", "add", HOST_LINK, "type", "veth", "peer", "name", "eth0", "netns", str(first.pid)])
    run(["ip", "address", "add", f"{HOST_ADDRESS}/{PREFIX}", "dev", HOST_LINK])
    run(["ip", "link", "set", HOST_LINK, "up"])
    run(_in_node("ip", "address", "add", f"{NODE_ADDRESS}/{PREFIX}", "dev", "eth0", mounts=False))
    run(_in_node("ip", "link", "set", "eth0", "up", mounts=False))


def _containerd_answers() -> bool:
    command = _in_node("ctr", "--address", SOCKET, "version")
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _kubeadm_init(programs: Path) -> None:
    command = _in_node(
        programs / "kubeadm", "init", "--config", STATE / "kubeadm.yaml", "--ignore-preflight-errors=all"
    )
    # kubeadm looks for kubelet and kubectl on PATH.
    path = f"{programs}:{os.environ['PATH']}"
    run(command, env={"PATH": path}, log=STATE / "kubeadm.log", doing="kubeadm init", timeout=300)
    write_private(kubeconfig_file(), (PRIVATE_FOLDERS[Path("/etc/kubernetes")] / "admin.conf").read_text())


def _finish() -> None:
    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        return run([build.kubectl_binary(), "--kubeconfig", kubeconfig_file(), *arguments], stdin=stdin)

    kubectl("apply", "-f", "-", stdin=node_images.render("storage.yaml"))
    kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=60s")
    kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    for namespace, name in ADDONS:
        kubectl("-n", namespace, "rollout", "status", f"deployment/{name}", "--timeout=120s")
