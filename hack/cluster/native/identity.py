"""Which process is the node's first one: its id with its start time, so that a reused id is never taken for it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from hack.cluster.native.layout import NODE_FILE


@dataclass(frozen=True)
class Identity:
    """One process of this boot of this machine."""

    pid: int
    """In the host's numbering."""
    started: int
    """Clock ticks after boot, field 22 of /proc/PID/stat (man 5 proc)."""
    boot: str
    """/proc/sys/kernel/random/boot_id."""


def parse_start_time(stat: str) -> int:
    """Field 22 of a /proc/PID/stat line. The command name, field 2, may itself hold spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[19])


def of(pid: int, proc: Path = Path("/proc")) -> Identity | None:
    """The identity of a living process, None when there is none of that id (a zombie counts as none)."""
    try:
        stat = (proc / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if stat.rpartition(")")[2].split()[0] in "ZX":
        return None
    return Identity(pid, parse_start_time(stat), (proc / "sys/kernel/random/boot_id").read_text().strip())


def record(identity: Identity, place: Path = NODE_FILE) -> None:
    """Write it down, in one step."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(identity)))
    fresh.rename(place)


def living(place: Path = NODE_FILE, proc: Path = Path("/proc")) -> Identity | None:
    """The recorded process; None when none is recorded, or it is gone, or its id belongs to another now."""
    try:
        recorded = Identity(**json.loads(place.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return recorded if of(recorded.pid, proc) == recorded else None
