"""Last, because it breaks the node: `up` after kill -9, and what `down` leaves.

Looks for leftovers with its own eyes, not through the code that removes them.
"""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from hack import cluster as clusters
from hack.cluster.native import cgroups
from hack.cluster.native.layout import CGROUP, HOST_LINK, RUN, STATE
from tests.e2e.system import System


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


def test_up_makes_a_working_node_again_after_kill_9_of_everything(node: System):
    _kill(cgroups.members())

    made = clusters.up()

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
