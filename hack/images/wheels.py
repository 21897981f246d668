"""Wheels for the Python inside the images, resolved on the host with its own pip configuration and kept in the cache.

So a build needs no access to a package index, and works wherever pip works.
"""

import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from hack.cluster import cache
from hack.run import Failure, progress, run

#: Python of the base images (Debian trixie and python:3.13-slim).
PYTHON: Final = "3.13"
#: glibc of trixie is 2.41; wheels are built for one of these.
GLIBC: Final = ("manylinux_2_34", "manylinux_2_28", "manylinux_2_17", "manylinux2014")


def platforms(machine: str) -> tuple[str, ...]:
    """pip's platform names for a machine as platform.machine() says it, newest first."""
    name = {"arm64": "aarch64", "AMD64": "x86_64"}.get(machine, machine)
    return tuple(f"{glibc}_{name}" for glibc in GLIBC)


def folder(name: str, requirements: Sequence[str]) -> Path:
    """Folder with every wheel that the requirements need, and nothing else; downloaded when missing.

    Raises Failure with pip's words when something cannot be resolved.
    """
    wanted = platforms(platform.machine())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    command += [f"--platform={one}" for one in wanted]

    def download(place: Path) -> None:
        with progress(f"downloading wheels for {name}", usually="10 s"):
            run([*command, f"--dest={place}", *requirements], doing=f"pip download for {name}")
        if not any(place.glob("*.whl")):
            raise Failure(f"pip downloaded no wheel for {name}")

    return cache.entry(f"wheels-{name}", cache.key(PYTHON, *wanted, *requirements), download)
