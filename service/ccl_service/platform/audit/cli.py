"""``ccl-service audit``: prove the trail, and write it out. Needs the database variables and JWT_SECRET only.

Exit codes of ``verify``: 0 proven, 1 contradicted (or the database does not answer), 3 not contradicted, but the key
of the newest seal is not held, so that it proves nothing.
"""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Final, NoReturn, TypeVar

import typer

from ccl_service.platform.audit.api import as_lines
from ccl_service.platform.audit.model import PURPOSE, Head, Macs
from ccl_service.platform.audit.service import export as export_pages
from ccl_service.platform.audit.verify import Verdict
from ccl_service.platform.audit.verify import verify as walk
from ccl_service.platform.config import SettingsError, UpkeepSettings, load_upkeep_settings
from ccl_service.platform.db import Db, PoolDb, PoolSize
from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import CclError

UNPROVEN: Final = 3
T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The audit trail: prove it, export it.")


@app.command()
def verify(
    expect_head: Annotated[
        str | None, typer.Option(help="A head kept elsewhere (<seq>:<hash>) that the chain must contain.")
    ] = None,
    from_batch: Annotated[int, typer.Option(min=0, help="Believe this seal and walk only what follows it.")] = 0,
) -> None:
    """Prove that nothing in the audit trail was changed, removed, added or moved."""
    try:
        expected = Head.parse(expect_head) if expect_head else None
    except ValueError as exc:
        _fail(f"--expect-head: {exc}")

    async def run(db: Db, settings: UpkeepSettings) -> Verdict:
        macs = Macs(KeyRing(settings.keys).derived(PURPOSE))
        return await walk(db, macs, expect=expected, from_batch=from_batch)

    verdict = _with_database(run)
    sys.stdout.write(f"{verdict.rows} rows in {verdict.batches} batches, {verdict.unsealed} not sealed yet\n")
    sys.stdout.write(f"head {verdict.head}\n")
    if verdict.fault is not None:
        _fail(_told(verdict))
    if verdict.unproven is not None:
        sys.stderr.write(f"ccl-service: audit: the newest seal is under the key {verdict.unproven}, not held here\n")
        raise typer.Exit(UNPROVEN)


@app.command()
def export(
    after: Annotated[int, typer.Option(min=0, help="Go on after this seq.")] = 0,
    since: Annotated[datetime | None, typer.Option(help="From this time on, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option(help="Before this time, UTC.")] = None,
) -> None:
    """Write the sealed trail to stdout as JSON lines, in the order of the chain."""

    async def run(db: Db, _: UpkeepSettings) -> None:
        async for rows in export_pages(db, after=after, since=_utc(since), until=_utc(until)):
            sys.stdout.write(as_lines(rows))

    _with_database(run)


def _told(verdict: Verdict) -> str:
    fault = verdict.fault
    assert fault is not None
    where = [("batch", fault.batch), ("seq", fault.seq), ("id", fault.row_id)]
    at = ", ".join(f"{name} {value}" for name, value in where if value is not None)
    return f"audit: {fault.reason}" + (f" ({at})" if at else "")


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _with_database(act: Callable[[Db, UpkeepSettings], Awaitable[T]]) -> T:
    """Run ``act`` with the database open; ends the process with one line when it does not answer."""

    async def run(settings: UpkeepSettings) -> T:
        db = PoolDb(settings.direct_url, PoolSize(connections=1), application="ccl-service audit")
        await db.open()
        try:
            return await act(db, settings)
        finally:
            await db.close()

    try:
        return asyncio.run(run(load_upkeep_settings(os.environ)))
    except SettingsError as exc:
        _fail(str(exc))
    except CclError as exc:
        _fail(f"audit: {exc}")


def _fail(line: str) -> NoReturn:
    sys.stderr.write(f"ccl-service: {line}\n")
    raise typer.Exit(1)
