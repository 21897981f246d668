"""``make test`` and its parts: which checks run, and what each needs installed.

Usage: python -m hack.test all|unit|service|operator|charts|e2e [pytest arguments]

Static checks come first because they are quick; all tests then share one pytest run, so that its closing line is
the last thing printed. The node binary builds in the background from the first moment.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hack.cluster.build import start_builds
from hack.run import Failure, ensure_packages, main_with_errors

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
STATIC: Final = (
    ("format", ("ruff", "format", "--check", "--quiet", ".")),
    ("lint", ("ruff", "check", "--quiet", ".")),
    ("types", ("mypy",)),
    ("import rules", ("lint-imports",)),
)
#: Debian packages by the part that needs them.
_SERVERS: Final = ("redis-server", "nginx-light", "openssl")
_RULES: Final = ("prometheus",)  # promtool
PACKAGES: Final = {
    "service": _SERVERS + _RULES,
    "operator": _RULES,
    "charts": _RULES,
    "all": _SERVERS + _RULES,
}


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
    if part in {"all", "e2e", "operator", "charts"}:
        start_builds()
    if part in PACKAGES:
        ensure_packages(PACKAGES[part])
    if part in {"all", "unit"}:
        static_checks()
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [BIN / "pytest", "-q", *PARTS[part], *arguments], cwd=ROOT, check=False, env=environment
    ).returncode


def main() -> int:
    """Entry point."""
    part, *arguments = sys.argv[1:] or ["all"]
    if part not in PARTS:
        raise Failure(f"unknown part {part!r}", fix=f"choose one of {', '.join(PARTS)}")
    return run(part, arguments)


if __name__ == "__main__":
    main_with_errors(main)
