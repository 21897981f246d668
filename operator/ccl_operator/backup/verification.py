"""Proof that a stored dump can be restored: read back whole, hashed, and run through ``pg_restore``.

``pg_restore --list`` reads the table of contents only and passes truncated and corrupted dumps; restoring into
``/dev/null`` reads, decompresses and renders every row.
"""

import hashlib
from collections.abc import AsyncIterator, Mapping

from ccl_operator.backup.destination import StoredDump
from ccl_operator.backup.failure import StepFailed
from ccl_operator.backup.programs import running


async def verify_dump(chunks: AsyncIterator[bytes], expected: StoredDump, environment: Mapping[str, str]) -> None:
    """Raises StepFailed when the bytes are not the expected ones, or are no dump that ``pg_restore`` can read."""
    digest, size, wanted = hashlib.sha256(), 0, True
    async with running("pg_restore", "-f", "/dev/null", environment=environment, reads=True) as restore:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
            # It stops reading at the first error; the hash is still wanted, because it says more than that error.
            wanted = wanted and await restore.feed(chunk)
        if size != expected.size_bytes:
            raise StepFailed(f"the stored dump has {size} bytes, {expected.size_bytes} were written")
        if digest.hexdigest() != expected.sha256:
            raise StepFailed(f"the stored dump is damaged: sha256 {digest.hexdigest()}, written {expected.sha256}")
        await restore.finish()
