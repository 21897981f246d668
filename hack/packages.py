"""Debian packages and the programs in them: installed where something is missing and apt is there."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from hack.files import locked
from hack.run import Failure, progress, run

#: Where servers are on a Debian, whatever the caller's PATH says.
SYSTEM_PATH = "/usr/sbin:/sbin"
#: Who holds this folder's lock installs; apt itself gives up when another one is at work.
APT: Final = Path("/var/lib/apt")


def ensure_programs(wanted: Mapping[str, str]) -> None:
    """Install the packages whose program is missing. ``wanted``: package → program.

    Raises Failure where that cannot be done: no apt, no root.
    """
    path = f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"
    missing = {package: program for package, program in wanted.items() if shutil.which(program, path=path) is None}
    if missing and shutil.which("dpkg-query") is None:
        raise Failure(f"missing: {', '.join(missing.values())}", fix="install them and put them on PATH")
    ensure_packages(tuple(missing))


def ensure_packages(packages: Sequence[str]) -> None:
    """Install the Debian packages that are missing; quick when none is. Raises Failure without apt or without root."""
    if not packages:
        return
    if shutil.which("dpkg-query") is None:
        raise Failure(f"{', '.join(packages)} needed, and this is not a Debian", fix="start Docker")
    missing = _missing(packages)
    if not missing:
        return
    if os.geteuid() != 0:
        raise Failure(f"Debian packages are missing: {', '.join(missing)}", fix=f"sudo {_install(missing)}")
    with locked(APT, doing="installing Debian packages"), progress(f"installing Debian packages: {', '.join(missing)}"):
        # Another of our commands may have installed some meanwhile.
        if missing := _missing(packages):
            _apt(missing)


def _missing(packages: Sequence[str]) -> list[str]:
    return [package for package in packages if not installed(package)]


def _install(packages: Sequence[str]) -> str:
    return f"apt-get install -y --no-install-recommends {' '.join(packages)}"


def _apt(packages: Sequence[str]) -> None:
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run(["apt-get", "update", "-qq"], env=quiet, doing="apt-get update")
    # RUNLEVEL=1 keeps a package's own service (redis-server) from being started: ours run under our own care.
    run(_install(packages).split(), env=quiet | {"RUNLEVEL": "1"}, doing="apt-get install")


def installed(package: str) -> bool:
    """Whether dpkg has the Debian package, completely."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", package], capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and done.stdout.strip() == "installed"
