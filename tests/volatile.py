"""Where servers of tests keep what nothing outlives."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ROOM: Final = 2 * 1024**3


@contextlib.contextmanager
def volatile_folder(prefix: str) -> Iterator[Path]:
    """A new folder that is removed afterwards, in memory where there is room for it.

    A database of a test's own is some 500 files, made and removed a thousand times: on a disk that takes longer than
    all else the service's tests do.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if _has_room(MEMORY) else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _has_room(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free > ROOM
