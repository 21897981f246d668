"""One backup from snapshot to pruning, and the report about it.

A set exists only when its manifest does, and the manifest is written only after the stored dump has been read back
and restored into nothing. Whatever fails before that takes the unfinished set away with it.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from ccl_contract.backup import BackupReport, BackupStage, Manifest, Table
from ccl_operator.backup.destination import FolderDestination, StoredDump
from ccl_operator.backup.failure import BackupFailed, StepFailed, during
from ccl_operator.backup.programs import ProgramVersion, running, version
from ccl_operator.backup.progress import Say, megabytes, reported
from ccl_operator.backup.prune import prune, remove_stale_uploads
from ccl_operator.backup.server import Server, without_secrets
from ccl_operator.backup.snapshot import SnapshotSession
from ccl_operator.backup.verification import verify_dump

#: How long pg_dump waits for a table that a migration holds, before the backup fails instead of queueing others.
_LOCK_WAIT: Final = "60s"


@dataclass(frozen=True)
class Backup:
    """What to back up, where to, and how many sets stay; time comes from ``clock`` (aware)."""

    id: str
    server: Server
    destination: FolderDestination
    keep_last: int
    environment: Mapping[str, str]
    clock: Callable[[], datetime]
    say: Say

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of the client programs."""
        return self.server.client_environment(self.environment)


async def dump(backup: Backup) -> BackupReport:
    """Make one verified set, then prune. A failed pruning is told in the message of a report that is ``ok``:
    the set is safe, and a repeated backup would only fill the destination further.

    Raises BackupFailed with the stage it ended in; BackupStopped when its task was cancelled.
    """
    _sweep(backup)
    manifest = await _make_set(backup)
    report = BackupReport(
        id=manifest.id,
        stage=BackupStage.PRUNE,
        ok=True,
        size_bytes=manifest.size_bytes,
        sha256=manifest.sha256,
        tables=len(manifest.tables),
        rows=sum(table.rows for table in manifest.tables),
        finished_at=manifest.finished_at,
    )
    with during(BackupStage.PRUNE):
        outcome = prune(
            backup.destination,
            keep_last=backup.keep_last,
            now=backup.clock(),
            protected=frozenset({manifest.id}),
            say=backup.say,
        )
    return report.model_copy(
        update={"kept": len(outcome.kept), "pruned": len(outcome.removed), "message": outcome.trouble[:1000]}
    )


def _sweep(backup: Backup) -> None:
    """Remove what killed backups left behind. Done first, because a full destination would keep every later
    backup from reaching its own pruning; nothing that is a set is touched here."""
    with during(BackupStage.PRUNE), suppress(StepFailed):
        remove_stale_uploads(backup.destination, now=backup.clock(), say=backup.say)


async def _make_set(backup: Backup) -> Manifest:
    with during(BackupStage.SNAPSHOT):
        tool = await version("pg_dump", backup.client_environment)
    with during(BackupStage.DUMP):
        backup.destination.reserve(backup.id)
    try:
        return await _fill(backup, tool)
    except BaseException:
        # Not only StepFailed: a set that no report vouches for must not be left looking like one.
        with suppress(StepFailed):
            backup.destination.remove(backup.id)
        raise


async def _fill(backup: Backup, tool: ProgramVersion) -> Manifest:
    started = backup.clock()
    with during(BackupStage.SNAPSHOT):
        backup.say("snapshot: connecting")
        session = await SnapshotSession.open(backup.server)
    try:
        with during(BackupStage.SNAPSHOT):
            _refuse_older_tool(tool, session.server_version_num)
            tables, audit_head = await session.count_tables(), await session.audit_head()
            backup.say(f"snapshot: {len(tables)} tables, {_rows(tables)} rows at {session.lsn}")
        with during(BackupStage.DUMP):
            stored = await _store(backup, session.name)
    finally:
        await session.close()
    with during(BackupStage.READ_BACK):
        chunks = reported(backup.destination.read_dump(backup.id), backup.say, "read-back")
        await verify_dump(chunks, stored, without_secrets(backup.environment))
        backup.say(f"read-back: sha256 {stored.sha256} verified, pg_restore reads it")
    with during(BackupStage.PUBLISH):
        manifest = Manifest(
            id=backup.id,
            started_at=started,
            finished_at=backup.clock(),
            lsn=session.lsn,
            server_version_num=session.server_version_num,
            tool_version=tool.text,
            tables=tables,
            sha256=stored.sha256,
            size_bytes=stored.size_bytes,
            audit_head=audit_head,
        )
        await backup.destination.publish(manifest)
        backup.say(f"publish: {backup.id} is a backup now")
    return manifest


def _refuse_older_tool(tool: ProgramVersion, server_version_num: int) -> None:
    major = server_version_num // 10_000
    if tool.major < major:
        raise StepFailed(
            f"pg_dump {tool.number} cannot dump a PostgreSQL {major}.{server_version_num % 10_000} server: "
            f"use a backup image of PostgreSQL {major} or newer"
        )


async def _store(backup: Backup, snapshot: str) -> StoredDump:
    arguments = (
        "--format=custom",
        f"--snapshot={snapshot}",
        "--no-password",
        f"--lock-wait-timeout={_LOCK_WAIT}",
        f"--dbname={backup.server.url}",
    )
    async with running("pg_dump", *arguments, environment=backup.client_environment, reads=False) as pg_dump:

        async def output() -> AsyncIterator[bytes]:
            async for chunk in pg_dump.output():
                yield chunk
            # Within the upload, so that the output of a failed pg_dump never becomes a stored dump.
            await pg_dump.finish()

        stored = await backup.destination.upload(backup.id, reported(output(), backup.say, "dump"))
    backup.say(f"dump: {megabytes(stored.size_bytes)} stored")
    return stored


def _rows(tables: tuple[Table, ...]) -> int:
    return sum(table.rows for table in tables)


def failed_report(identifier: str, failure: BackupFailed, server: Server | None, at: datetime) -> BackupReport:
    """The report about a backup that ended early; the password, should a tool have quoted it, is taken out."""
    reason = server.redact(failure.reason) if server else failure.reason
    return BackupReport(id=identifier, stage=failure.stage, ok=False, message=reason[:1000], finished_at=at)
