"""How long `make up` and `make down` take: from nothing, again, and after a change of the code.

Usage: python -m hack.bench.up [--cold]

Works in a clone of the committed tree, on the native node or kind as `make up` would. ``--cold`` starts with empty
caches: nothing built, no Go module downloaded. Prints a Markdown table. An existing node of `make up` is removed.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from hack.run import Failure, main_with_errors

ROOT: Final = Path(__file__).parents[2]
#: A file of the service's image; a comment in it changes what the image is made from.
CHANGED: Final = Path("service/ccl_service/version.py")


def measure(tree: Path, environment: Mapping[str, str], target: str) -> float:
    """Seconds that `make TARGET` takes in ``tree``. Raises Failure with the end of its output."""
    started = time.monotonic()
    done = subprocess.run(
        ["make", target], cwd=tree, env=environment, check=False, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise Failure(f"make {target} failed:\n{done.stdout[-3000:]}")
    return time.monotonic() - started


def change(tree: Path) -> None:
    """Edit one file of the service."""
    with (tree / CHANGED).open("a") as file:
        file.write("# changed\n")


def steps(tree: Path) -> tuple[tuple[str, str, Callable[[], None]], ...]:
    """What is measured in order: what it is called, the make target, and what happens before."""

    def nothing() -> None:
        return

    return (
        ("`make up`, no node", "up", nothing),
        ("`make up` again", "up", nothing),
        ("`make up` after a change of the service", "up", lambda: change(tree)),
        ("`make down`", "down", nothing),
    )


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cold", action="store_true", help="with empty caches")
    cold = parser.parse_args().cold
    with tempfile.TemporaryDirectory(prefix="ccl-bench-", ignore_cleanup_errors=True) as name:
        tree, environment = Path(name) / "tree", dict(os.environ)
        if cold:
            caches = {"XDG_CACHE_HOME": "cache", "GOCACHE": "go-build", "GOMODCACHE": "go-mod"}
            environment |= {key: str(Path(name) / folder) for key, folder in caches.items()}
            environment["GOFLAGS"] = "-modcacherw"  # else the folder could not be removed
        subprocess.run(["git", "clone", "--quiet", ROOT, tree], check=True)
        measure(tree, environment, "down")
        print(f"| what ({'empty' if cold else 'filled'} caches) | seconds |\n|---|---|", flush=True)
        for what, target, before in steps(tree):
            before()
            print(f"| {what} | {measure(tree, environment, target):.0f} |", flush=True)
    return 0


if __name__ == "__main__":
    main_with_errors(main)
