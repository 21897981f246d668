"""``make test`` and its parts: which checks run, and what each needs installed.

Usage: python -m hack.test all|unit|service|operator|charts|e2e [pytest arguments]

What this machine lacks is told first. Static checks come next because they are quick; all tests then share one pytest
run, so that its closing line is the last thing printed. What is built for the tests is built beside them from the
first moment.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from hack.cluster import choice
from hack.cluster.build import building, require_tools
from hack.demo.install import IMAGES
from hack.images.catalog import UNREADY
from hack.packages import ensure_programs
from hack.prepare import preparing
from hack.run import Command, Failure, main_with_errors

ROOT: Final = Path(__file__).parent.parent
BIN: Final = ROOT / ".venv" / "bin"

#: What each part runs, cheap before dear.
PARTS: Final = {
    "unit": ("tests/unit",),
    "service": ("tests/service",),
    "operator": ("tests/operator",),
    "charts": ("tests/charts",),
    "e2e": ("tests/e2e",),
    "all": ("tests/unit", "tests/service", "tests/charts", "tests/operator", "tests/e2e"),
}
#: Those with a cluster, and those with programs that are built from Go modules.
CLUSTER: Final = frozenset({"all", "e2e"})
BUILT: Final = CLUSTER | {"operator", "charts"}
STATIC: Final = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
    ("types", ("mypy",)),
    ("import rules", ("lint-imports",)),
)
#: Debian packages by the part that needs them, each with the program that counts.
_RULES: Final = {"prometheus": "promtool"}
_SERVERS: Final = {
    "redis-server": "redis-server",
    "nginx-light": "nginx",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    **_RULES,
}
PROGRAMS: Final = {"service": _SERVERS, "operator": _RULES, "charts": _RULES, "all": _SERVERS}


def static_checks() -> None:
    """Format, lint, strict types, import rules. Raises Failure with the tool's output at the first that fails."""
    for name, command in STATIC:
        started = time.monotonic()
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=ROOT,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            raise Failure(f"{name} failed:\n{done.stdout}", fix="make fmt mends format and many lint findings")
        print(f"{name}: ok ({time.monotonic() - started:.0f} s)", flush=True)


def run(part: str, arguments: Sequence[str]) -> int:
    """Run one part; returns pytest's exit code."""
    if part in CLUSTER:
        choice.decide(choice.look())
    if part in BUILT:
        require_tools()
    with _building(part):
        ensure_programs(PROGRAMS.get(part, {}))
        if part in {"all", "unit"}:
            static_checks()
        return tests(part, arguments)


@contextmanager
def _building(part: str) -> Iterator[None]:
    """What is built beside the tests that do not need it yet."""
    with ExitStack() as stack:
        if part in BUILT:
            stack.enter_context(building())
        if part in CLUSTER:
            stack.enter_context(preparing(*IMAGES, UNREADY))
        yield


def tests(part: str, arguments: Sequence[str]) -> int:
    """pytest over one part; returns its exit code."""
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    # Only unit tests share no server and have no deadlines: several processes may run them.
    processes = ("-n", "auto") if part == "unit" else ()
    command: Command = [BIN / "pytest", "-q", *processes, *PARTS[part], *arguments]
    return subprocess.run(command, cwd=ROOT, check=False, env=environment).returncode


def main() -> int:
    """Entry point."""
    part, *arguments = sys.argv[1:] or ["all"]
    if part not in PARTS:
        raise Failure(f"unknown part {part!r}", fix=f"choose one of {', '.join(PARTS)}")
    return run(part, arguments)


if __name__ == "__main__":
    main_with_errors(main)
