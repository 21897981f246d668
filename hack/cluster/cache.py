"""The one folder for all that is downloaded or built (~/.cache/ccl-dev), keyed by a hash of what it was made from.

An entry is made in a scratch folder and renamed when complete, so that a cut-off build is never used;
a file lock lets several processes ask for the same entry at once.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from hack.files import locked

KEY_LENGTH: Final = 12
#: What a cluster and all that is built for it take.
MIN_FREE_BYTES: Final = 8 * 10**9


def folder() -> Path:
    """The cache folder, made when missing."""
    made = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ccl-dev"
    made.mkdir(parents=True, exist_ok=True)
    return made


def key(*inputs: str | bytes | Path) -> str:
    """12 hex digits of the SHA-256 of the inputs; a Path stands for its content (a folder: names and contents)."""
    digest = hashlib.sha256()
    for part in _flat(inputs):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:KEY_LENGTH]


def _flat(inputs: Iterable[str | bytes | Path]) -> Iterator[bytes]:
    for item in inputs:
        if isinstance(item, str):
            yield item.encode()
        elif isinstance(item, bytes):
            yield item
        elif item.is_dir():
            for file in sorted(p for p in item.rglob("*") if p.is_file() and "__pycache__" not in p.parts):
                yield str(file.relative_to(item)).encode()
                yield file.read_bytes()
        else:
            yield item.name.encode()
            yield item.read_bytes()


@contextmanager
def lock(name: str, *, shared: bool = False, doing: str = "") -> Iterator[None]:
    """Hold the lock of that name, as ``locked``."""
    place = folder() / f"{name}.lock"
    place.touch()
    with locked(place, shared=shared, doing=doing):
        yield


def find(name: str, entry_key: str) -> Path | None:
    """The complete entry, or None."""
    place = folder() / f"{name}-{entry_key}"
    return place if place.is_dir() else None


def entry(name: str, entry_key: str, build: Callable[[Path], None]) -> Path:
    """The folder of an entry, built first by ``build(empty_folder)`` when it is missing. Older entries of the name go.

    Whatever ``build`` raises is passed on, and leaves no entry.
    """
    place = folder() / f"{name}-{entry_key}"
    if place.is_dir():
        return place
    with lock(name):
        if place.is_dir():
            return place
        with scratch() as partial:
            build(partial)
            partial.rename(place)
        for old in folder().glob(f"{name}-" + "[0-9a-f]" * KEY_LENGTH):
            if old != place:
                shutil.rmtree(old, ignore_errors=True)
    return place


@contextmanager
def scratch() -> Iterator[Path]:
    """An empty folder beside the entries until the block ends. Those of processes that were killed go first."""
    every = folder() / "scratch"
    every.mkdir(exist_ok=True)
    for left in every.iterdir():
        if not psutil.pid_exists(int(left.name.partition("-")[0])):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=every))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def link(place: Path, target: Path) -> None:
    """Make ``place`` a symbolic link to ``target``, in one step also where another link is there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(place)
