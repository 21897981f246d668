"""Removes every trace of the native node, whatever state it is in: running, half made, or killed."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

from hack.cluster.native import cgroups, identity
from hack.cluster.native.layout import CGROUP, HOST_LINK, MADE_FOLDERS, RUN, STATE
from hack.run import Failure, run, wait_until


def traces() -> list[str]:
    """What there is of the node, in words; empty when nothing is."""
    found = [str(place) for place in (STATE, RUN) if place.exists()]
    if (count := len(cgroups.members())) > 0:
        found.append(f"{count} processes")
    if _link_exists():
        found.append(f"interface {HOST_LINK}")
    if any((tree / CGROUP).exists() for tree in cgroups.trees()):
        found.append("control groups")
    return found


def remove_everything() -> None:
    """Remove it. Raises Failure when the kernel does not let go of something."""
    first = identity.living()
    if first is not None:
        # With process 1 of the pid namespace the kernel ends all others, mounts and interfaces included.
        os.kill(first.pid, signal.SIGKILL)
    cgroups.kill_all()
    if first is not None:
        pid = first.pid
        wait_until(lambda: identity.of(pid) != first, timeout=30, what=f"end of process {pid}")
    _unmount_below(STATE)
    if _link_exists():
        subprocess.run(["ip", "link", "delete", HOST_LINK], capture_output=True, check=False)
        wait_until(lambda: not _link_exists(), timeout=10, what=f"removal of the interface {HOST_LINK}")
    cgroups.remove()
    made = MADE_FOLDERS.read_text().split() if MADE_FOLDERS.exists() else []
    for folder in reversed(made):
        _remove_empty(Path(folder))
    for place in (STATE, RUN):
        if place.exists():
            shutil.rmtree(place)


def make_mount_points(folders: list[Path]) -> None:
    """Make the missing folders, remembering first which ones, so that `remove_everything` leaves none behind."""
    missing = []
    for place in folders:
        missing += [p for p in reversed((place, *place.parents)) if not p.exists() and p not in missing]
    STATE.mkdir(parents=True, exist_ok=True)
    MADE_FOLDERS.write_text("".join(f"{place}\n" for place in missing))
    for place in missing:
        place.mkdir()


def _remove_empty(place: Path) -> None:
    try:
        place.rmdir()
    except (FileNotFoundError, OSError):
        # Somebody else has put something there since: then it is theirs.
        return


def _unmount_below(folder: Path) -> None:
    """Mounts outside the node's namespace can only be there by hand; removing files through them would be worse."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for place in sorted((p for p in places if p.startswith(f"{folder}/")), reverse=True):
        run(["umount", place], doing=f"unmounting {place}")


def _link_exists() -> bool:
    return Path(f"/sys/class/net/{HOST_LINK}").exists()


def require_gone() -> None:
    """Raise Failure when anything of the node is left."""
    if left := traces():
        raise Failure(f"left over after removal: {', '.join(left)}")
