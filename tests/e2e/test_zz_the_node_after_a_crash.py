"""Last, because it breaks the node: `up` after kill -9 at two moments, and what `down` leaves.

Looks for leftovers with its own eyes, not through the code that removes them.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from hack import cluster as clusters
from hack.cluster.native import cgroups
from hack.cluster.native.layout import CGROUP, HOST_LINK, PRIVATE_FOLDERS, RUN, STATE
from tests.e2e.system import System, until


@pytest.fixture
def node(system: System) -> System:
    """The native node that these tests made themselves."""
    if system.cluster.provider != "native":
        pytest.skip(f"breaks the native node, and this cluster is {system.cluster.provider}")
    if not system.ours:
        pytest.skip("breaks the node, and this one was up before the tests")
    return system


def _commands(pids: frozenset[int]) -> dict[int, str]:
    found = {}
    for pid in pids:
        try:
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _kill(pids: frozenset[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _kill_up_in_the_middle_of_kubeadm_init(output: Path) -> None:
    """Let `up` come as far as a running API server that kubeadm still waits for, then kill both."""
    with output.open("wb") as stdout:
        up = subprocess.Popen(
            [sys.executable, "-m", "hack.cluster", "up"],
            cwd=Path(clusters.__file__).parents[2],
            stdout=stdout,
            stderr=stdout,
            start_new_session=True,
        )
    try:
        servers = ("etcd", "kube-apiserver")
        until("its servers", lambda: all(map(_running, servers)) or up.poll() is not None, timeout=600)
        assert up.poll() is None, output.read_text()
        children = psutil.Process(up.pid).children(recursive=True)
        assert any("kubeadm" in " ".join(child.cmdline()) for child in children)
    finally:
        if up.poll() is None:
            os.killpg(up.pid, signal.SIGKILL)
            up.wait()


def _running(program: str) -> bool:
    return any(command.partition(" ")[0].endswith(program) for command in _commands(cgroups.members()).values())


def test_up_makes_a_working_node_again_after_kill_9_of_everything_and_again_inside_kubeadm_init(
    node: System, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    _kill(cgroups.members())
    _kill_up_in_the_middle_of_kubeadm_init(tmp_path / "output")
    assert "(its processes are gone)" in (tmp_path / "output").read_text()
    assert list((PRIVATE_FOLDERS[Path("/etc/kubernetes")] / "manifests").iterdir())
    assert _running("etcd")

    made = clusters.up()

    assert "(it was never finished)" in capsys.readouterr().out
    ready = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    assert node.kubectl("get", "node", "ccl", "-o", ready) == "True"
    assert made.provider == "native"


def test_down_leaves_no_process_mount_interface_group_or_folder(node: System):
    clusters.up()
    processes = _commands(cgroups.members())
    assert any("kube-apiserver" in command for command in processes.values())

    clusters.down()

    assert not {pid: command for pid, command in _commands(frozenset(processes)).items() if command == processes[pid]}
    assert str(STATE) not in Path("/proc/mounts").read_text()
    assert HOST_LINK not in subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
    assert [str(place) for tree in cgroups.trees() if (place := tree / CGROUP).exists()] == []
    assert [str(place) for place in (STATE, RUN) if place.exists()] == []
