"""``kubectl ccl``, a plugin: kubectl finds it by its name on the PATH. Source: kubernetes.io, "Extend kubectl with
plugins"."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from ccl_operator.api.conformance import Finding
from ccl_operator.api.lint import is_ours, lint
from ccl_operator.cli.documents import Document, Unreadable, documents
from ccl_operator.cli.stored import stored

CLEAN: Final = 0
FOUND: Final = 1
UNREAD: Final = 2

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Output(StrEnum):
    """How the result is printed."""

    TEXT = "text"
    JSON = "json"


@dataclass
class Report:
    """What was looked at, and what is wrong with it."""

    checked: int = 0
    skipped: int = 0
    findings: list[tuple[Document, Finding]] = field(default_factory=list)
    unread: list[Unreadable] = field(default_factory=list)

    def add(self, document: Document) -> None:
        """Check one object; empty documents count for nothing, objects of other kinds as skipped."""
        content = document.content
        if content is None:
            return
        if not isinstance(content, dict) or not content.get("kind"):
            wrong = Finding((), "is no Kubernetes object: it has no kind")
            self.findings.append((document, wrong))
        elif is_ours(content):
            self.checked += 1
            self.findings += [(document, finding) for finding in (*document.repeated, *lint(content))]
        else:
            self.skipped += 1

    @property
    def code(self) -> int:
        """Exit code."""
        return UNREAD if self.unread else FOUND if self.findings else CLEAN


@app.callback()
def plugin() -> None:
    """Work with CclDeployments."""


@app.command(name="lint")
def lint_command(
    file: Annotated[
        list[str] | None, typer.Option("--filename", "-f", help="Manifests; - reads stdin; repeat for more.")
    ] = None,
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Of the cluster, without -f.")] = None,
    all_namespaces: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="All of the cluster, without -f.")
    ] = False,
    output: Annotated[Output, typer.Option("--output", "-o")] = Output.TEXT,
) -> None:
    """Check CclDeployments: fields that do not exist, wrong values, broken rules.

    With -f no cluster is needed; without it the objects of the cluster are checked.
    Exits with 0 when all is well, 1 with findings, 2 when something could not be read.
    """
    if file and (namespace or all_namespaces):
        raise typer.BadParameter("-n and -A choose objects of the cluster; they do not go with -f")
    if namespace and all_namespaces:
        raise typer.BadParameter("-n and -A exclude each other")
    report = Report()
    if file:
        for name in file:
            _gather(report, _from_file(name))
    else:
        _gather(report, stored(namespace, everywhere=all_namespaces))
    _print_json(report) if output is Output.JSON else _print_text(report)
    raise typer.Exit(report.code)


def _gather(report: Report, found: Iterator[Document]) -> None:
    try:
        for document in found:
            report.add(document)
    except Unreadable as error:
        report.unread.append(error)


def _from_file(name: str) -> Iterator[Document]:
    source = "stdin" if name == "-" else name
    try:
        text = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise Unreadable(source, error.strerror or type(error).__name__) from None
    for document in documents(text, source):
        yield from document.objects()


def _print_text(report: Report) -> None:
    for document, finding in report.findings:
        typer.echo(": ".join(part for part in (_where(document, finding), finding.path, finding.message) if part))
    counts = [f"{report.checked} checked", f"{report.skipped} of other kinds skipped", _amount(len(report.findings))]
    typer.echo(f"CclDeployments: {', '.join(counts)}")
    for error in report.unread:
        typer.echo(f"cannot read {error}", err=True)


def _amount(findings: int) -> str:
    return {0: "nothing found", 1: "1 finding"}.get(findings, f"{findings} findings")


def _where(document: Document, finding: Finding) -> str:
    line = document.line(finding.place)
    place = f"{document.source}:{line}" if line is not None else document.source
    return f"{place} (document {document.number})" if document.number is not None else place


def _print_json(report: Report) -> None:
    result: dict[str, Any] = {
        "checked": report.checked,
        "skipped": report.skipped,
        "findings": [
            {
                "source": document.source,
                "document": document.number,
                "line": document.line(finding.place),
                "path": finding.path,
                "message": finding.message,
            }
            for document, finding in report.findings
        ],
        "unread": [{"source": error.source, "message": error.reason} for error in report.unread],
    }
    typer.echo(json.dumps(result, indent=2))


def main() -> None:
    """Entry point."""
    app(prog_name="kubectl ccl")
