"""Files that hold secrets, and files as locks between processes."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hack.run import progress


@contextmanager
def locked(place: Path, *, shared: bool = False, doing: str = "") -> Iterator[None]:
    """Hold the lock of a file or folder that is there; waits for its holder. A killed holder lets go by itself.

    Several may hold it ``shared`` at once. ``doing``: what a holder does, where that may take long enough to be told.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    handle = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            with progress(f"waiting for another process that is {doing}") if doing else nullcontext():
                fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)


def write_private(place: Path, text: str) -> None:
    """Write a file that nobody but its owner can read at any moment, whatever was there before.

    In one step: who reads it meanwhile gets the old content or the new, and a failed write leaves the old.
    """
    # mkstemp makes files with mode 0600, whatever the umask is.
    handle, fresh = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
    try:
        with open(handle, "w") as file:
            file.write(text)
        os.replace(fresh, place)
    except BaseException:
        os.unlink(fresh)
        raise
