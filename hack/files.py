"""Files that hold secrets."""

import os
import tempfile
from pathlib import Path


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
