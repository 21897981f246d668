"""The console command ``ccl-service``.

A build that wants a further production-readiness check calls ``main(checks={"MyCheck": check})`` with an async
function that returns a ``ccl_contract.readiness.Check``; there is no switch for it.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from ccl_contract.readiness import CheckStatus
from ccl_service import checking, serving
from ccl_service.main import route_table
from ccl_service.platform.audit.cli import app as audit
from ccl_service.platform.bounds import default_bounds
from ccl_service.platform.config import Settings, SettingsError, load_database_settings, load_settings
from ccl_service.platform.description import Description
from ccl_service.platform.maintain.cli import command as maintain
from ccl_service.platform.phase import Role
from ccl_service.platform.problems import CclError
from ccl_service.platform.readiness import CheckFn
from ccl_service.platform.telemetry import configure_logging
from ccl_service.platform.telemetry.errors import ErrorReporter, open_reporter
from ccl_service.version import VERSION

#: Where Kubernetes looks for a container's last words.
TERMINATION_LOG: Final = Path("/dev/termination-log")
#: What stands there until the report does: whoever counts the time of a migration counts from here.
DATABASE_ANSWERED: Final = "the database has answered"
#: A second migration may have to wait for the whole of the first.
LOCK_WITHIN: Final = timedelta(minutes=30)

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
app.add_typer(audit, name="audit")
app.command("maintain")(maintain)


def main(checks: Mapping[str, CheckFn] | None = None) -> None:
    """Entry point. ``checks`` are further production-readiness checks by id."""
    try:
        app(obj=dict(checks or {}))
    finally:
        _give_up_stderr()


@app.command()
def serve(
    ctx: typer.Context,
    no_jobs: Annotated[bool, typer.Option("--no-jobs", help="Serve HTTP and leave background work to others.")] = False,
    jobs_only: Annotated[bool, typer.Option("--jobs-only", help="Work in the background; serve only probes.")] = False,
) -> None:
    """Serve HTTP and do the background work."""
    if no_jobs and jobs_only:
        _fail("--no-jobs and --jobs-only leave nothing to do")
    settings = _settings()
    role = Role.WEB if no_jobs else Role.JOBS if jobs_only else Role.ALL
    with _error_reports(settings) as report, asyncio.Runner(loop_factory=_loop_factory()) as loop:
        configure_logging(settings.log_level, report=report)
        try:
            loop.run(serving.serve(settings, role, ctx.obj))
        except serving.PortTaken as exc:
            _fail(str(exc))


@app.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Only say what is pending.")] = False,
    contract: Annotated[bool, typer.Option("--contract", help="Apply Contract migrations too.")] = False,
    report: Annotated[Path, typer.Option(help="Where the report goes, when it exists.")] = TERMINATION_LOG,
) -> None:
    """Bring the database to this version's schema. Safe to run from several places at once."""
    # alembic and SQLAlchemy cost half a second that serve does not have to pay
    from ccl_service.platform.migrate import migrate as run  # noqa: PLC0415

    try:
        settings = load_database_settings(os.environ)
    except SettingsError as exc:
        _fail(str(exc))

    def answered() -> None:
        if report.exists():
            report.write_text(DATABASE_ANSWERED)

    try:
        result = asyncio.run(
            run(
                settings.direct_url,
                plan=plan,
                contract=contract,
                answer_within=timedelta(milliseconds=settings.db_connect_timeout_ms),
                lock_within=LOCK_WITHIN,
                on_answer=answered,
            )
        )
    except CclError as exc:
        _fail(f"migrate: {exc}")
    text = result.model_dump_json()
    sys.stdout.write(text + "\n")
    if report.exists():
        report.write_text(text)


@app.command()
def check(
    ctx: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="The report as JSON, as the operator's gate reads it.")
    ] = False,
) -> None:
    """Production readiness as a table. Exit code 0: ready; 1: a check fails or the settings are wrong."""
    settings = _settings()
    configure_logging("error")
    found = asyncio.run(checking.examine(settings, ctx.obj))
    sys.stdout.write(
        found.model_dump_json(by_alias=True, exclude_none=True) + "\n" if as_json else checking.table(found)
    )
    raise typer.Exit(1 if found.status is CheckStatus.FAIL else 0)


@app.command()
def openapi() -> None:
    """The OpenAPI 3.1 document on stdout, with the limits of a deployment that sets none."""
    document = Description(route_table(), version=VERSION, bounds=default_bounds()).document
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def _give_up_stderr() -> None:
    """Drop what stderr cannot take (full disk, closed pipe): the interpreter would exit with 120 for it, as for a
    failure (``Py_FinalizeEx``). What is meant for stdout is a command's result, and its loss does count."""
    try:
        sys.stderr.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stderr.fileno())
        os.close(nowhere)


def _error_reports(settings: Settings) -> contextlib.AbstractContextManager[ErrorReporter | None]:
    """Reports of what is logged as an error, where somebody collects them."""
    if settings.sentry_dsn is None:
        return contextlib.nullcontext()
    dsn = settings.sentry_dsn.get_secret_value()
    return contextlib.closing(open_reporter(dsn, environment=settings.env, version=VERSION, pod=settings.pod_name))


def _settings() -> Settings:
    try:
        return load_settings(os.environ)
    except SettingsError as exc:
        _fail(str(exc))


def _fail(line: str) -> NoReturn:
    sys.stderr.write(f"ccl-service: {line}\n")
    raise typer.Exit(1)


def _loop_factory() -> "type[asyncio.AbstractEventLoop] | None":
    try:
        import uvloop  # noqa: PLC0415 - absent where it does not install
    except ImportError:
        return None
    return uvloop.Loop
