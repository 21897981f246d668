"""Commands of ``ccl-operator``: run it, or print the manifests that are generated from code."""

import asyncio
import os
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import typer
import yaml

from ccl_operator import names
from ccl_operator.api.schema import crd
from ccl_operator.runtime import logs, process, rbac

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


class Level(StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Namespaces = Annotated[list[str] | None, typer.Option("--namespace", "-n", help="Only here; repeat for more.")]


@app.command()
def run(
    namespace: Namespaces = None,
    log_level: Annotated[Level, typer.Option(envvar="CCL_LOG_LEVEL")] = Level.INFO,
    health_port: Annotated[int, typer.Option(help="/livez, /readyz and /metrics.", min=1, max=65535)] = 8080,
    lease_namespace: Annotated[
        str, typer.Option(envvar="POD_NAMESPACE", help="Where the Lease is that one of several operators holds.")
    ] = "ccl-system",
    lease: Annotated[str, typer.Option(envvar="CCL_LEASE", help="Its name.")] = names.FIELD_MANAGER,
) -> None:
    """Run the operator with the pod's ServiceAccount, or with KUBECONFIG where pods can be reached."""
    logs.configure(log_level)
    options = process.Options(tuple(namespace or ()), health_port, lease_namespace, lease)
    raise typer.Exit(asyncio.run(process.run(options, dict(os.environ))))


@app.command()
def crds() -> None:
    """Print the CustomResourceDefinitions."""
    _print([crd()])


@app.command(name="rbac")
def rbac_manifests(
    namespace: Namespaces = None,
    name: Annotated[str, typer.Option(help="Of the role and of the ServiceAccount.")] = names.FIELD_MANAGER,
    operator_namespace: Annotated[str, typer.Option(help="Where the ServiceAccount is.")] = "ccl-system",
    rules_only: Annotated[
        bool, typer.Option("--rules-only", help="Only the rules: the chart's files/rules.yaml.")
    ] = False,
) -> None:
    """Print the role with exactly the permissions the operator uses, and its binding."""
    if rules_only:
        _print([rbac.rules()])
    else:
        _print(rbac.manifests(namespace or (), name=name, service_account_namespace=operator_namespace))


class _Dumper(yaml.SafeDumper):
    """Without anchors: equal values in two places are written out in both."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _print(documents: Sequence[object]) -> None:
    typer.echo(yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True), nl=False)


def main() -> None:
    """Entry point."""
    app()
