"""The first process of the node: process 1 of its pid namespace, in network and mount namespaces of its own.

Started by node.py as `unshare --mount --net --pid --fork … python -m hack.cluster.native.init NODE_FOLDER`. It mounts
what is private, says who it is, then keeps containerd and the kubelet running and collects orphans. All processes,
mounts and interfaces of the node live in its namespaces: when it ends, for whatever reason, the kernel removes them.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hack.cluster.native import identity
from hack.cluster.native.layout import FILES, PRIVATE_FOLDERS, RUN, STATE

KUBELET: Final = Path("/var/lib/kubelet")
#: Seconds before a program that ended is started again.
RESTART_DELAY: Final = 1.0


def mount(*arguments: str | Path) -> None:
    """mount(8)."""
    subprocess.run(["mount", *map(str, arguments)], check=True)


def make_private() -> None:
    """Mount the node's own folders, /run and /proc; record this process's id on the host while it can be seen."""
    me = identity.of(int(os.readlink("/proc/self")))
    assert me is not None
    for place, source in PRIVATE_FOLDERS.items():
        source.mkdir(parents=True, exist_ok=True)
        mount("--bind", source, place)
    identity.record(me)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
    for folder in (RUN, Path("/run/netns"), Path("/run/lock")):
        folder.mkdir()
    mount("-t", "proc", "proc", "/proc")
    # The kubelet mounts into pods' folders and containerd has to pass that on (kubernetes.io, "Mount propagation").
    mount("--make-rshared", "/")


def make_network() -> None:
    """Loopback, forwarding, and a default route to an empty bridge: nothing that a pod sends leaves the machine."""
    commands = (
        "ip link set lo up",
        "ip link add svc type bridge",
        "ip link set svc up",
        "ip route add default dev svc",
    )
    for command in commands:
        subprocess.run(command.split(), check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    bridged = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if bridged.exists():
        bridged.write_text("1")


def containerd() -> list[str] | None:
    """Its command line."""
    return ["containerd", "-c", str(FILES / "containerd.toml")]


def kubelet(programs: Path) -> list[str] | None:
    """Its command line, None until kubeadm has written the files that it needs."""
    config, flags = KUBELET / "config.yaml", KUBELET / "kubeadm-flags.env"
    if not (config.exists() and flags.exists()):
        return None
    arguments = flags.read_text().partition("=")[2].strip().strip('"')
    kubernetes = "/etc/kubernetes"
    return [
        *(str(programs / "kubelet"), f"--config={config}", f"--kubeconfig={kubernetes}/kubelet.conf"),
        *(f"--bootstrap-kubeconfig={kubernetes}/bootstrap-kubelet.conf", *shlex.split(arguments)),
    ]


class Service:
    """A program that is started again whenever it ends."""

    def __init__(self, name: str, command: Callable[[], list[str] | None]) -> None:
        self.name, self.command, self.pid, self.not_before = name, command, 0, 0.0

    def keep_running(self, now: float) -> None:
        """Start it when it does not run, its time has come and its command line is known. ``now`` is monotonic."""
        if self.pid or now < self.not_before:
            return
        if command := self.command():
            with (STATE / f"{self.name}.log").open("ab") as log:
                self.pid = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).pid
            self.not_before = now + RESTART_DELAY

    def ended(self, pid: int) -> None:
        """Take note of the end of a process."""
        if pid == self.pid:
            self.pid = 0


def reap() -> int:
    """Collect one child that ended; 0 when there is none."""
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return 0
    return pid


def main() -> None:
    """Never returns."""
    programs = Path(sys.argv[1])
    make_private()
    make_network()
    services = (Service("containerd", containerd), Service("kubelet", lambda: kubelet(programs)))
    while True:
        while pid := reap():
            for service in services:
                service.ended(pid)
        for service in services:
            service.keep_running(time.monotonic())
        time.sleep(0.1)


if __name__ == "__main__":
    main()
