"""What the container may use and uses, read from its control group (v2, else v1).

Sources: docs.kernel.org, "Control Group v2" (memory.max, memory.current, memory.stat) and "Memory Resource Controller"
(v1). The working set is what the kubelet judges: usage without the file cache that can be dropped.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
#: v1 writes a number close to 2^63 for "no limit".
_NO_LIMIT: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. ``limit`` is None where there is none."""

    working_set: int
    limit: int | None


def memory(root: Path = ROOT) -> Memory | None:
    """None where no control group can be read (a laptop without Linux)."""
    v2 = root / "memory.current"
    if v2.exists():
        return _read(v2, root / "memory.max", root / "memory.stat", "inactive_file")
    v1 = root / "memory"
    return _read(v1 / "memory.usage_in_bytes", v1 / "memory.limit_in_bytes", v1 / "memory.stat", "total_inactive_file")


def _read(usage: Path, most: Path, stat: Path, droppable: str) -> Memory | None:
    try:
        used = int(usage.read_text())
        text = most.read_text().strip()
        lines = dict(line.split(" ", 1) for line in stat.read_text().splitlines())
    except (OSError, ValueError):
        return None
    limit = None if text == "max" or int(text) >= _NO_LIMIT else int(text)
    return Memory(max(0, used - int(lines.get(droppable, 0))), limit)
