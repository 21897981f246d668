"""The node's control groups: they say which processes are the node's, whatever became of pid files.

Works on cgroup v1 (one tree per controller) and v2 (one tree).
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hack.cluster.native.layout import CGROUP, CGROUP_MOUNT
from hack.run import Failure

#: Child group of the node's own programs; pods get siblings of it from the kubelet.
PROGRAMS: Final = "programs"
#: Controllers without which the kubelet does not start (kubernetes.io, "cgroup v2").
KUBELET_NEEDS: Final = frozenset({"cpu", "cpuset", "memory", "pids"})


def trees(mount: Path = CGROUP_MOUNT) -> tuple[Path, ...]:
    """The roots of all control group trees. Raises Failure when none is mounted."""
    if (mount / "cgroup.controllers").exists():
        return (mount,)
    # `cpu` and `cpu,cpuacct` may name the same tree; links would show it twice.
    found = tuple(sorted(p for p in mount.iterdir() if not p.is_symlink() and (p / "cgroup.procs").exists()))
    if not found:
        raise Failure(f"no control groups are mounted at {mount}", fix="mount cgroup2, or boot with systemd")
    return found


def create(mount: Path = CGROUP_MOUNT) -> tuple[Path, ...]:
    """Make the node's groups in every tree; returns those that the node's programs have to enter."""
    places = []
    for tree in trees(mount):
        group = tree / CGROUP
        group.mkdir(exist_ok=True)
        if (tree / "cgroup.controllers").exists():
            for parent in (tree, group):
                _hand_down(parent)
        else:
            _inherit_cpuset(tree, group)
        programs = group / PROGRAMS
        programs.mkdir(exist_ok=True)
        _inherit_cpuset(group, programs)
        places.append(programs)
    return tuple(places)


def _hand_down(group: Path) -> None:
    """Let child groups of a v2 group use its controllers. Raises Failure when one that the kubelet needs cannot be."""
    for controller in (group / "cgroup.controllers").read_text().split():
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            # Some (rdma, misc, perf_event) are not for handing down everywhere, and the kubelet does without them.
            if controller in KUBELET_NEEDS:
                raise Failure(f"the cgroup controller {controller} cannot be used below {group}: {error}") from error


def _inherit_cpuset(parent: Path, child: Path) -> None:
    # On v1 a new cpuset is empty, and no process may enter it before both are set.
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (child / name).exists() and (parent / name).exists() and not (child / name).read_text().strip():
            (child / name).write_text((parent / name).read_text())


def members(mount: Path = CGROUP_MOUNT) -> frozenset[int]:
    """Process ids of everything that belongs to the node, in the host's numbering."""
    found: set[int] = set()
    for group in _groups(mount):
        try:
            found.update(int(line) for line in (group / "cgroup.procs").read_text().split())
        except OSError:  # the group went away while we looked
            continue
    return frozenset(found - {0})


def _groups(mount: Path) -> Iterator[Path]:
    """All groups of the node, children before parents."""
    for tree in trees(mount):
        for folder, _, _ in os.walk(tree / CGROUP, topdown=False):
            yield Path(folder)


def kill_all(*, timeout: float = 30.0) -> None:
    """Kill everything that belongs to the node. Raises Failure when something lives on after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while alive := members():
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if time.monotonic() > deadline:
            raise Failure(f"processes of the node do not end: {sorted(alive)[:10]}", fix="restart the machine")
        time.sleep(0.05)


def remove(*, timeout: float = 10.0) -> None:
    """Remove the node's groups, which must be empty. Raises Failure when the kernel keeps one of them busy."""
    deadline = time.monotonic() + timeout
    while left := [group for group in _groups(CGROUP_MOUNT) if not _removed(group)]:
        if time.monotonic() > deadline:
            raise Failure(f"the control group {left[0]} cannot be removed")
        time.sleep(0.05)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY for a moment after its last process ended
        return False
    return True
