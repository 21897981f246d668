"""Where backup sets are kept: a folder (a mounted volume), written so that a power cut cannot undo what was reported.

Bytes go through obstore; what a folder needs beyond that (fsync, leftovers of a killed upload, which obstore's
listing hides) is done here. What is worth keeping is ``retention``'s business.
"""

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore
from pydantic import ValidationError

from ccl_contract.backup import DUMP, MANIFEST, Manifest, taken_at
from ccl_operator.backup.failure import StepFailed, first_line
from ccl_operator.backup.programs import CHUNK
from ccl_operator.backup.retention import SetRecord, SetState

#: One part is being filled while at most this many are written: the memory of an upload is about three parts.
_PART: Final = 8 * CHUNK
_PARTS_IN_FLIGHT: Final = 2
_ERRORS: Final = (BaseError, OSError)


@dataclass(frozen=True)
class StoredDump:
    """An uploaded dump as it left us: bytes and lower-case hex sha256."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class FoundSet:
    """A set in a destination; ``manifest`` is present exactly when it is published."""

    record: SetRecord
    size_bytes: int
    manifest: Manifest | None = None


class FolderDestination:
    """Sets in a folder: ``<id>/dump.pgc`` and, once it exists as a set, ``<id>/manifest.json``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._store = LocalStore(prefix=root)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Open ``file:///folder``. Raises StepFailed for another scheme or a folder that is not there.

        The folder is never made: with its volume not mounted, backups would go to a disk that dies with the pod.
        """
        parts = urlsplit(url)
        if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise StepFailed("the backup destination must be a file:///folder URL")
        root = Path(unquote(parts.path))
        if not root.is_dir():
            raise StepFailed(f"the backup destination {root} is not a folder (is its volume mounted?)")
        return cls(root)

    def reserve(self, identifier: str) -> None:
        """Make the set's folder. Raises StepFailed when it exists or cannot be written."""
        try:
            (self.root / identifier).mkdir()
        except OSError as exc:
            raise StepFailed(f"cannot write to the backup destination: {exc.strerror}") from exc

    async def upload(self, identifier: str, chunks: AsyncIterator[bytes]) -> StoredDump:
        """Stream the dump to its key, hashing it on the way; it is on disk when this returns. Raises StepFailed.

        An upload that ends early leaves no dump: obstore drops its temporary file with the writer.
        """
        digest, size = hashlib.sha256(), 0
        key = f"{identifier}/{DUMP}"
        writer = obstore.open_writer_async(self._store, key, buffer_size=_PART, max_concurrency=_PARTS_IN_FLIGHT)
        try:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                await writer.write(chunk)
            await writer.close()
            await self._settle(key)
        except _ERRORS as exc:
            raise StepFailed(f"cannot store the dump: {first_line(exc)}") from exc
        return StoredDump(size, digest.hexdigest())

    async def read_dump(self, identifier: str) -> AsyncIterator[bytes]:
        """The stored dump from its first to its last byte. Raises StepFailed."""
        try:
            answer = await obstore.get_async(self._store, f"{identifier}/{DUMP}")
            async for chunk in answer.stream(min_chunk_size=CHUNK):
                yield bytes(chunk)
        except _ERRORS as exc:
            raise StepFailed(f"cannot read the dump back: {first_line(exc)}") from exc

    async def publish(self, manifest: Manifest) -> None:
        """Write the manifest, which makes the set exist; refuses to replace one. Raises StepFailed."""
        key = f"{manifest.id}/{MANIFEST}"
        body = manifest.model_dump_json(indent=2).encode()
        try:
            await obstore.put_async(self._store, key, body, mode="create")
            await self._settle(key)
        except _ERRORS as exc:
            raise StepFailed(f"cannot publish the manifest: {first_line(exc)}") from exc

    def sets(self) -> tuple[FoundSet, ...]:
        """Every set, finished or not, newest first; what is not named like a set is not ours. Raises StepFailed."""
        try:
            folders = sorted((entry for entry in self.root.iterdir() if _is_set(entry)), reverse=True)
            return tuple(found for folder in folders if (found := _found(folder)))
        except OSError as exc:
            raise StepFailed(f"cannot list the backup destination: {exc.strerror}") from exc

    def remove(self, identifier: str) -> None:
        """Remove a set: its manifest first, so that it never exists without its dump. Raises StepFailed."""
        folder = self.root / identifier
        try:
            (folder / MANIFEST).unlink(missing_ok=True)
            _sync(folder)
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise StepFailed(f"cannot remove {identifier}: {exc.strerror}") from exc

    async def _settle(self, key: str) -> None:
        """Force an object and the folder entries that lead to it to disk; obstore leaves that to the kernel."""
        path = self.root / key
        for place in (path, path.parent, self.root):
            await asyncio.to_thread(_sync, place)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_set(entry: Path) -> bool:
    try:
        taken_at(entry.name)
    except ValueError:
        return False
    return entry.is_dir() and not entry.is_symlink()


def _found(folder: Path) -> FoundSet | None:
    """The set in a folder; None when the folder has just been removed."""
    try:
        return _judged(folder)
    except FileNotFoundError:
        return None


def _judged(folder: Path) -> FoundSet:
    written = [folder.stat().st_mtime]
    sizes: dict[str, int] = {}
    for entry in folder.iterdir():
        # A backup that runs at this moment renames its files under our eyes.
        with suppress(FileNotFoundError):
            status = entry.stat()
            sizes[entry.name] = status.st_size
            written.append(status.st_mtime)
    last_write = max(taken_at(folder.name), datetime.fromtimestamp(max(written), UTC))
    size = sum(sizes.values())
    # A power cut can leave an empty manifest; that backup never reported success, so it counts as none.
    if not sizes.get(MANIFEST):
        return FoundSet(SetRecord(folder.name, SetState.UNFINISHED, last_write), size)
    manifest = _manifest(folder)
    if manifest is None or manifest.id != folder.name or manifest.size_bytes != sizes.get(DUMP):
        return FoundSet(SetRecord(folder.name, SetState.DAMAGED, last_write), size)
    return FoundSet(SetRecord(folder.name, SetState.PUBLISHED, last_write), size, manifest)


def _manifest(folder: Path) -> Manifest | None:
    try:
        return Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError:
        return None
