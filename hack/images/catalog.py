"""Which images there are, what goes into each, and their references. Reads the tree; builds nothing.

Our own images are tagged with a hash of everything that goes into them, so that a reference names one content for ever.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hack.run import Failure

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent


@dataclass(frozen=True)
class Program:
    """One image of ours that runs Python."""

    name: str
    """As hack.images knows it."""
    repository: str
    """Last part of its reference, without the tag."""
    extras: tuple[str, ...]
    """Extras of pyproject.toml whose dependencies it gets, besides the project's own."""
    packages: tuple[str, ...]
    """Folders of the tree, each copied under its last name, or under the path behind the colon."""
    commands: tuple[str, ...] = ()
    """Console commands of pyproject.toml."""
    apt: str = ""
    """Debian packages, separated by spaces."""
    requirements: tuple[str, ...] = ()
    """Requirements that are in no extra."""


@dataclass(frozen=True)
class StandIn:
    """An image of a registry that is rebuilt from Debian packages where no registry can be reached."""

    name: str
    reference: str
    folder: str


@dataclass(frozen=True)
class Server:
    """An image of ours made of Debian packages alone, in every kind of cluster."""

    name: str
    folder: str


PROGRAMS: Final = (
    Program(
        name="ccl-service",
        repository="ccl-service",
        extras=("service", "tracing"),
        packages=("service/ccl_service", "service/ccl_contract"),
        commands=("ccl-service",),
    ),
    Program(
        name="ccl-operator",
        repository="ccl-operator",
        extras=("operator",),
        packages=("operator/ccl_operator", "service/ccl_contract"),
        commands=("ccl-operator",),
    ),
    Program(
        name="ccl-backup-17",
        repository="ccl-backup",
        extras=("backup",),
        packages=("operator/ccl_operator", "service/ccl_contract"),
        commands=("ccl-backup",),
        apt="postgresql-client-17",
    ),
    Program(
        name="ccl-fakes",
        repository="ccl-fakes",
        extras=("client",),
        packages=(
            "service/ccl_service",
            "service/ccl_contract",
            "hack/fakes:hack/fakes",
            "hack/chat.py:hack/chat.py",
            "hack/demo:hack/demo",
        ),
    ),
)
STAND_INS: Final = (
    StandIn("postgres-17", "docker.io/library/postgres:17", "postgres"),
    StandIn("valkey-8", "docker.io/valkey/valkey:8", "valkey"),
)
SERVERS: Final = (Server("pgbouncer", "pgbouncer"),)
UNREADY: Final = "ccl-service-unready"
NAMES: Final = (*(p.name for p in PROGRAMS), UNREADY, *(s.name for s in STAND_INS), *(s.name for s in SERVERS))


def registry() -> str:
    """Where our images are named: CCL_REGISTRY, else `localhost`, which no node ever pulls from."""
    return os.environ.get("CCL_REGISTRY", "localhost").rstrip("/")


def program(name: str) -> Program:
    """The program image of that name. Raises KeyError."""
    return {p.name: p for p in PROGRAMS}[name]


def stand_in(name: str) -> StandIn | None:
    """The stand-in of that name, None when it is no stand-in."""
    return {s.name: s for s in STAND_INS}.get(name)


def server(name: str) -> Server | None:
    """The server image of that name, None when it is none."""
    return {s.name: s for s in SERVERS}.get(name)


def project() -> Mapping[str, object]:
    """The [project] table of pyproject.toml."""
    table: Mapping[str, object] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def requirements(wanted: Program, table: Mapping[str, object]) -> tuple[str, ...]:
    """Requirement strings of a program, sorted. Raises KeyError for an unknown extra."""
    base, extras = table["dependencies"], table["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(extras, dict)
    chosen = [line for extra in wanted.extras for line in extras[extra]]
    return tuple(sorted({*base, *chosen, *wanted.requirements}))


def sources(wanted: Program, root: Path = ROOT) -> dict[str, Path]:
    """The files of a program: path in the image below src/ → file of the tree. Without compiled files."""
    found = {}
    for item in wanted.packages:
        source, _, target = item.partition(":")
        place = root / source
        files = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
        for file in files:
            if "__pycache__" not in file.parts:
                below = file.relative_to(place).as_posix()
                found["/".join(part for part in (target or place.name, below) if part != ".")] = file
    return found


def script(entry_point: str) -> str:
    """A console command, as pip would write it, for `module:function`."""
    module, _, function = entry_point.partition(":")
    return f"#!/opt/ccl/bin/python\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


def generated(wanted: Program, table: Mapping[str, object]) -> dict[str, str]:
    """What an installer would make: the commands, and the metadata that importlib.metadata reads the version from."""
    scripts = table["scripts"]
    assert isinstance(scripts, dict)
    metadata = f"Metadata-Version: 2.1\nName: {table['name']}\nVersion: {table['version']}\n"
    files = {f"src/{table['name']}-{table['version']}.dist-info/METADATA": metadata}
    return files | {f"bin/{name}": script(scripts[name]) for name in wanted.commands}


def files(wanted: Program) -> dict[str, bytes]:
    """Everything above the dependencies, by path in the build context, sorted: src/ and bin/."""
    found = {f"src/{name}": file.read_bytes() for name, file in sources(wanted).items()}
    found |= {name: text.encode() for name, text in generated(wanted, project()).items()}
    return dict(sorted(found.items()))


def known(names: Sequence[str]) -> tuple[str, ...]:
    """The names, or all when none is given. Raises Failure for an unknown one."""
    for name in names:
        if name not in NAMES:
            raise Failure(f"no image is called {name!r}", fix=f"choose from {', '.join(NAMES)}")
    return tuple(names) or NAMES
