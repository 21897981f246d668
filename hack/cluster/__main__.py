"""The development cluster by hand: python -m hack.cluster up|down|status|kubeconfig|load|build|prepare."""

from pathlib import Path
from typing import Annotated

import typer

from hack import cluster
from hack.cluster import build as builds
from hack.cluster import cache, choice
from hack.run import Failure, main_with_errors

app = typer.Typer(
    help="A Kubernetes cluster for development: existing, kind or native.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def exports(found: cluster.Cluster) -> str:
    """The lines to paste into a shell."""
    return f"export KUBECONFIG={found.kubeconfig}\nexport PATH={cache.folder() / 'bin'}:$PATH"


@app.command()
def up() -> None:
    """Get a cluster: reuse the healthy one, else make it."""
    print(exports(cluster.up()))


@app.command()
def down() -> None:
    """Remove what `up` made; the cache folder stays."""
    cluster.down()


@app.command()
def status() -> None:
    """Whether the cluster is up; exit code 1 when it is not."""
    found = cluster.current()
    if found is None:
        raise Failure("no healthy cluster", fix="make up")
    audit = " ".join(found.audit_log) if found.audit_log else "not ours"
    print(f"{found.provider} cluster is healthy\naudit log: {audit}\n{exports(found)}")


@app.command()
def kubeconfig() -> None:
    """Print the path of the kubeconfig file."""
    found = cluster.current()
    if found is None:
        raise Failure("no healthy cluster", fix="make up")
    print(found.kubeconfig)


@app.command()
def load(image: Annotated[str, typer.Argument(help="an image name of hack.images, or an OCI archive file")]) -> None:
    """Bring an image into the cluster."""
    if Path(image).is_file():
        choice.provider(choice.present()).load([Path(image)])
        return
    from hack.images import build_and_load  # noqa: PLC0415  hack.images imports this package

    found = cluster.current()
    if found is None:
        raise Failure("no healthy cluster", fix="make up")
    print("\n".join(build_and_load(found, [image]).values()))


@app.command()
def build() -> None:
    """Build the cluster's programs into the cache."""
    builds.build_all()


@app.command()
def prepare() -> None:
    """Make what `up` needs and what can be made without a cluster."""
    choice.provider(choice.present()).prepare()


if __name__ == "__main__":

    def main() -> int:
        """Entry point."""
        app()
        return 0

    main_with_errors(main)
