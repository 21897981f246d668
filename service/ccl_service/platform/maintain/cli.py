"""``ccl-service maintain``: the command. Needs the database variables and JWT_SECRET only.

Exit codes: 0 done, also when another run was at work, when time was over, or when something was found that a person
should look at (the report says so); 1 when a task failed or the database does not answer.
"""

import asyncio
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, NoReturn
from uuid import uuid4

import typer

from ccl_contract.maintenance import MaintenanceReport
from ccl_service.platform.audit.sealer import Sealer
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.config import SettingsError, UpkeepSettings, load_upkeep_settings
from ccl_service.platform.db import PoolDb, PoolSize
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.maintain.integrity import CHECKS
from ccl_service.platform.maintain.retention import RULES
from ccl_service.platform.maintain.run import Upkeep, alone, maintain, tasks
from ccl_service.platform.problems import CclError
from ccl_service.platform.telemetry import configure_logging

TERMINATION_LOG: Final = Path("/dev/termination-log")


def command(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go and what was found.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    max_seconds: Annotated[float, typer.Option(min=1, help="Begin nothing new after this long.")] = 300.0,
    report: Annotated[Path, typer.Option(help="Where a short report goes, when it exists.")] = TERMINATION_LOG,
) -> None:
    """Retention, sealing, statistics and integrity checks. Safe to run at any time."""
    configure_logging("warn")
    try:
        settings = load_upkeep_settings(os.environ)
        result = asyncio.run(_run(settings, dry=dry_run, max_seconds=max_seconds))
    except SettingsError as exc:
        _fail(str(exc))
    except CclError as exc:
        _fail(f"maintain: {exc}")
    sys.stdout.write(f"{result.model_dump_json()}\n" if as_json else table(result))
    if report.exists():
        report.write_text(result.brief())
    if result.failed:
        raise typer.Exit(1)


async def _run(settings: UpkeepSettings, *, dry: bool, max_seconds: float) -> MaintenanceReport:
    keys, end = KeyRing(settings.keys), time.monotonic() + max_seconds

    def now() -> datetime:
        return datetime.now(UTC)

    async with alone(settings.direct_url) as first:
        if not first:
            return MaintenanceReport(dry_run=dry, busy=True)
        db = PoolDb(settings.direct_url, PoolSize(connections=2), application="ccl-service maintain")
        await db.open()
        try:
            upkeep = Upkeep(
                db,
                Audit(keys, now=now, new_id=uuid4),
                Sealer(db, keys, now=now),
                seconds_left=lambda: end - time.monotonic(),
                dry=dry,
            )
            return await maintain(upkeep, tasks(RULES, CHECKS), clock=time.monotonic)
        finally:
            await db.close()


def table(result: MaintenanceReport) -> str:
    """The report for people."""
    if result.busy:
        return "another run is at work; nothing done\n"
    width = max((len(task.name) for task in result.tasks), default=0)
    head = f"{'task':<{width}}  status     changed  took ms\n"
    lines = (
        f"{task.name:<{width}}  {task.status:<9}  {task.changed:>7}  {task.took_ms:>7}  {task.message}".rstrip() + "\n"
        for task in result.tasks
    )
    return head + "".join(lines) + ("(dry run: nothing was changed)\n" if result.dry_run else "")


def _fail(line: str) -> NoReturn:
    sys.stderr.write(f"ccl-service: {line}\n")
    raise typer.Exit(1)
