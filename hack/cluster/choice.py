"""Decides which way to a cluster is taken and says why: existing (when asked for), kind, native, or a clear refusal."""

import os
import platform
import subprocess
from dataclasses import dataclass

from hack.cluster.existing import Existing
from hack.cluster.kind import Kind
from hack.cluster.memory import WAYS, Way, remembered
from hack.cluster.native import Native
from hack.cluster.provider import Provider
from hack.run import Failure


@dataclass(frozen=True)
class Machine:
    """The facts that the choice depends on."""

    wish: str
    """CCL_CLUSTER: `existing`, `kind`, `native` or empty."""
    docker_answers: bool
    system: str
    """As platform.system() says: `Linux`, `Darwin` …"""
    root: bool
    present: Way | None = None
    """The way that an earlier `up` took, until `down`."""


@dataclass(frozen=True)
class Choice:
    """The way taken and why."""

    way: Way
    reason: str


def decide(machine: Machine) -> Choice:
    """Pick the way. Raises Failure, with the fix, when there is none."""
    if machine.wish not in ("", *WAYS):
        raise Failure(f"CCL_CLUSTER={machine.wish} is unknown", fix="leave it unset, or set existing, kind or native")
    if machine.present is not None:
        if machine.wish in ("", machine.present):
            return Choice(machine.present, "taken before")
        raise Failure(f"CCL_CLUSTER={machine.wish}, and a cluster of {machine.present} is in use", fix="make down")
    if machine.wish == "existing":
        return Choice("existing", "CCL_CLUSTER=existing")
    if machine.docker_answers and machine.wish != "native":
        return Choice("kind", "`docker info` answers")
    if machine.wish == "kind":
        raise Failure("CCL_CLUSTER=kind, and `docker info` does not answer", fix="start Docker")
    if machine.system != "Linux":
        raise Failure("no cluster can be made: `docker info` does not answer", fix="install and start Docker")
    if not machine.root:
        raise Failure(
            "no cluster can be made: `docker info` does not answer, and without it root is needed",
            fix="start Docker, or run as root, or CCL_CLUSTER=existing",
        )
    return Choice("native", "CCL_CLUSTER=native" if machine.wish else "no Docker; Linux and root")


def docker_answers() -> bool:
    """Whether a Docker daemon answers; an installed client alone does not count."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=20)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def look() -> Machine:
    """The facts of this machine."""
    wish, there = os.environ.get("CCL_CLUSTER", ""), remembered()
    # A choice that does not depend on Docker is not kept waiting by it.
    docker = there is None and wish in ("", "kind") and docker_answers()
    return Machine(wish, docker, platform.system(), root=os.geteuid() == 0, present=there)


def provider(way: str) -> Provider:
    """The provider of that name."""
    match way:
        case "existing":
            return Existing()
        case "kind":
            return Kind()
        case "native":
            return Native()
    raise ValueError(way)


def choose() -> Choice:
    """The way for this machine; prints which and why. Raises Failure when there is none."""
    chosen = decide(look())
    print(f"  - cluster: {chosen.way} ({chosen.reason})", flush=True)
    return chosen


def present() -> Way:
    """The way that `up` took, else the one that it would take. Raises Failure when there is none."""
    return remembered() or decide(look()).way
