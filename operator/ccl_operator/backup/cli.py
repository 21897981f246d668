"""``ccl-backup``: what backup Jobs run, usable by hand. Reads the environment and the clock; the work is ``dump``'s.

Exit codes: 0 done, 1 failed, 2 wrong usage, 143 stopped by a signal.
"""

import asyncio
import os
import signal
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from ccl_contract.backup import BackupReport, BackupStage, backup_id
from ccl_operator.backup import report
from ccl_operator.backup.destination import FolderDestination, FoundSet, StoredDump
from ccl_operator.backup.dump import Backup, dump, failed_report
from ccl_operator.backup.failure import BackupFailed, BackupStopped, StepFailed, during
from ccl_operator.backup.progress import megabytes, reported
from ccl_operator.backup.prune import prune
from ccl_operator.backup.server import Server, server_from_url, without_secrets
from ccl_operator.backup.verification import verify_dump

T = TypeVar("T")
_STOPPED: Final = 143

app = typer.Typer(
    name="ccl-backup",
    help="Back up a PostgreSQL database into verified sets, and look after them.",
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks print local variables, a password among them.
    pretty_exceptions_enable=False,
)

Destination = Annotated[
    str, typer.Option(envvar="BACKUP_DESTINATION", help="Where the sets are: a file:///folder URL.")
]
KeepLast = Annotated[int, typer.Option(envvar="BACKUP_KEEP_LAST", min=1, help="How many of the newest sets stay.")]
TerminationLog = Annotated[
    Path | None,
    typer.Option(envvar="BACKUP_TERMINATION_LOG", help="Report file; default /dev/termination-log where it exists."),
]


@app.callback()
def prepare() -> None:
    """Runs before every command."""
    # Dumps hold personal data: the volume's group may read them (fsGroup), nobody else.
    os.umask(0o027)


@app.command("dump")
def dump_command(
    destination: Destination = "", keep_last: KeepLast = 7, termination_log: TerminationLog = None
) -> None:
    """Make one verified set of the database in DATABASE_DIRECT_URL (else DATABASE_URL), then prune."""
    identifier = backup_id(_now(), os.urandom(3))
    server, code = None, 0
    try:
        with during(BackupStage.SNAPSHOT):
            server = _server()
        with during(BackupStage.DUMP):
            folder = FolderDestination.from_url(destination)
        outcome = _run(dump(Backup(identifier, server, folder, keep_last, os.environ, _now, _say)))
    except BackupFailed as failure:
        outcome = failed_report(identifier, failure, server, _now())
        _show_bug(failure, server)
        code = _STOPPED if isinstance(failure, BackupStopped) else 1
    _conclude(outcome, termination_log)
    raise typer.Exit(code)


@app.command("list")
def list_command(destination: Destination) -> None:
    """List the sets, newest first."""
    found = _or_exit(lambda: FolderDestination.from_url(destination).sets())
    _say(f"{'ID':<24}{'STATE':<12}{'SIZE':>12}{'TABLES':>8}{'ROWS':>12}  SERVER")
    for item in found:
        _say(_line(item))


@app.command("verify")
def verify_command(
    destination: Destination,
    identifier: Annotated[str | None, typer.Argument(metavar="[ID]", help="Default: the newest published set.")] = None,
) -> None:
    """Read a set back whole: size and sha256 as in its manifest, and pg_restore can read it to the end."""
    folder = _or_exit(lambda: FolderDestination.from_url(destination))
    chosen = _or_exit(lambda: _choose(folder.sets(), identifier))
    assert chosen.manifest is not None
    manifest = chosen.manifest
    chunks = reported(folder.read_dump(manifest.id), _say, "read-back")
    expected = StoredDump(manifest.size_bytes, manifest.sha256)
    _or_exit(lambda: _run(verify_dump(chunks, expected, without_secrets(os.environ))))
    _say(f"{manifest.id} is good: {megabytes(manifest.size_bytes)}, sha256 {manifest.sha256}")


@app.command("prune")
def prune_command(
    destination: Destination,
    keep_last: KeepLast = 7,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove the sets beyond the newest ones, and unfinished ones that are 48 hours old."""
    folder = _or_exit(lambda: FolderDestination.from_url(destination))
    outcome = prune(folder, keep_last=keep_last, now=_now(), say=_say, dry_run=dry_run)
    _say(f"{len(outcome.kept)} kept, {len(outcome.removed)} {'to remove' if dry_run else 'removed'}")
    raise typer.Exit(1 if outcome.trouble else 0)


def main() -> None:
    """Entry point of ``ccl-backup``."""
    app()


def _server() -> Server:
    url = os.environ.get("DATABASE_DIRECT_URL") or os.environ.get("DATABASE_URL")
    if not url:
        raise StepFailed("DATABASE_DIRECT_URL (or DATABASE_URL) is not set")
    return server_from_url(url)


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end; SIGTERM and SIGINT cancel the work, which then cleans up behind itself."""

    async def supervised() -> T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await work

    return asyncio.run(supervised())


def _conclude(outcome: BackupReport, termination_log: Path | None) -> None:
    if outcome.ok:
        _say(f"{outcome.id} done: {outcome.tables} tables, {outcome.rows} rows, {megabytes(outcome.size_bytes)}")
    else:
        _complain(f"{outcome.id} failed in stage {outcome.stage}: {outcome.message}")
    try:
        report.write(outcome, termination_log)
    except OSError as exc:
        # The exit code still tells the truth; a backup is not worth less because nobody could be told its size.
        _complain(f"cannot write the report: {exc.strerror}")


def _choose(found: tuple[FoundSet, ...], identifier: str | None) -> FoundSet:
    candidates = [item for item in found if identifier in (None, item.record.id)]
    if not candidates and identifier is not None:
        raise StepFailed(f"there is no set {identifier}")
    published = [item for item in candidates if item.manifest is not None]
    if not published:
        raise StepFailed(f"{identifier} is {candidates[0].record.state}" if identifier else "there is no published set")
    return published[0]


def _line(item: FoundSet) -> str:
    tables = rows = server = "-"
    if item.manifest is not None:
        tables, rows = str(len(item.manifest.tables)), str(sum(table.rows for table in item.manifest.tables))
        server = f"{item.manifest.server_version_num // 10_000}.{item.manifest.server_version_num % 10_000}"
    size = megabytes(item.size_bytes)
    return f"{item.record.id:<24}{item.record.state:<12}{size:>12}{tables:>8}{rows:>12}  {server}"


def _or_exit(step: Callable[[], T]) -> T:
    try:
        return step()
    except StepFailed as exc:
        _complain(str(exc))
        raise typer.Exit(1) from exc
    except asyncio.CancelledError as exc:
        raise typer.Exit(_STOPPED) from exc


def _show_bug(failure: BackupFailed, server: Server | None) -> None:
    """The traceback of an error nobody foresaw, without the password it might quote."""
    if isinstance(failure.__cause__, Exception) and not isinstance(failure.__cause__, StepFailed):
        text = "".join(traceback.format_exception(failure.__cause__))
        _complain(server.redact(text) if server else text)


def _now() -> datetime:
    return datetime.now(UTC)


def _say(line: str) -> None:
    typer.echo(line)


def _complain(line: str) -> None:
    typer.echo(line, err=True)
