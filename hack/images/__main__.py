"""Images by hand: python -m hack.images build|load [NAME ...]."""

from collections.abc import Mapping
from typing import Annotated

import typer

from hack import cluster, images
from hack.images import catalog
from hack.run import Failure, main_with_errors

app = typer.Typer(help="The container images.", no_args_is_help=True, pretty_exceptions_enable=False)
Names = Annotated[list[str] | None, typer.Argument(help=f"some of {', '.join(catalog.NAMES)}; all when none is given")]


def show(references: Mapping[str, str]) -> None:
    """One image a line."""
    for name, reference in references.items():
        print(f"{name:22} {reference}")


@app.command()
def build(names: Names = None) -> None:
    """Build the images that are missing."""
    show(images.build(names or ()))


@app.command()
def load(names: Names = None) -> None:
    """Build the images that are missing and bring them into the running cluster."""
    found = cluster.current()
    if found is None:
        raise Failure("no healthy cluster", fix="make up")
    show(images.build_and_load(found, names or ()))


if __name__ == "__main__":

    def main() -> int:
        """Entry point."""
        app()
        return 0

    main_with_errors(main)
