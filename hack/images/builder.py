"""The two programs that build images, behind one interface: Docker where it answers, buildah (root) elsewhere.

What is built from what is build.py's business.
"""

import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from hack.cluster import cache
from hack.cluster.native import oci
from hack.run import Command, Failure, progress, run

DEBIAN: Final = "trixie"
CONTAINERS: Final = Path("/var/lib/containers")
#: Programs at a time: on two cores a third only makes all of them slower.
PARALLEL: Final = 2
BASE: Final = Path(__file__).parent / "base"
BASE_PACKAGES: Final = "python3,python3-venv,ca-certificates,tzdata,netbase"


class Builder(Protocol):
    """Builds and hands out images. Every method raises Failure with the program's output when it fails."""

    @property
    def stand_ins(self) -> bool:
        """Whether registry images have to be built here."""

    def base_name(self) -> str | None:
        """Value of the Dockerfiles' BASE argument, None for their own default."""

    def make_base(self) -> None:
        """Make sure that the base is there."""

    def has(self, reference: str) -> bool:
        """Whether the image is built."""

    def build(self, context: Path, dockerfile: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """Build a Dockerfile and name the result."""

    def export(self, images: Mapping[str, str], place: Path) -> None:
        """Write images (name that they get in the cluster → reference here) to one archive with shared layers."""

    def push(self, reference: str) -> None:
        """Push to the registry that the reference names."""

    def forget(self, keep: str) -> None:
        """Drop the images that ``keep`` replaces: those of its name with another tag."""


@dataclass(frozen=True)
class Docker:
    """The docker command."""

    stand_ins: bool = False

    def base_name(self) -> str | None:
        """The Dockerfiles' default."""
        return None

    def make_base(self) -> None:
        """Nothing: `docker build` pulls it."""

    def has(self, reference: str) -> bool:
        """Asks the daemon."""
        return bool(run(["docker", "images", "--quiet", reference]).strip())

    def build(self, context: Path, dockerfile: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """docker build."""
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        command: Command = ["docker", "build", "--quiet", "--file", dockerfile, "--tag", reference, *flags, context]
        # An attestation makes the image a list of two, which kind cannot load.
        run(command, env={"DOCKER_BUILDKIT": "1", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}, doing=f"building {reference}")

    def export(self, images: Mapping[str, str], place: Path) -> None:
        """docker save."""
        for name, reference in images.items():
            if name != reference:
                run(["docker", "tag", reference, name])
        run(["docker", "save", "--output", place, *images], doing="saving images")

    def push(self, reference: str) -> None:
        """docker push."""
        run(["docker", "push", "--quiet", reference], doing=f"pushing {reference}")

    def forget(self, keep: str) -> None:
        """docker rmi."""
        listing = run(["docker", "images", "--format", "{{.Repository}}:{{.Tag}}", keep.rpartition(":")[0]])
        for old in replaced(listing.split(), keep):
            run(["docker", "rmi", old])


@dataclass(frozen=True)
class Buildah:
    """buildah, its storage in the cache, in a mount namespace of its own so that a killed build leaves no mount."""

    runroot: Path
    stand_ins: bool = True
    #: buildah's listing fails when an image goes while it reads: one thread removes, or any list.
    listing: threading.Lock = field(default_factory=threading.Lock)

    def base_name(self) -> str | None:
        """The image made of a Debian root file system with Python."""
        return f"localhost/ccl/base:{_base_key()}"

    def make_base(self) -> None:
        """mmdebstrap, then one layer."""
        reference = f"localhost/ccl/base:{_base_key()}"
        if not self.has(reference):
            root = cache.entry("base-root", _base_key(), _make_root)
            self.build(root, BASE / "Dockerfile", reference, {})

    def has(self, reference: str) -> bool:
        """Looks into the storage."""
        with self.listing:
            return reference in self._references()

    def build(self, context: Path, dockerfile: Path, reference: str, arguments: Mapping[str, str]) -> None:
        """buildah build, everything above the base in one layer."""
        flags = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        # The host's network: package managers in a build use the same mirrors and proxies as the host.
        options = ["--quiet", "--isolation=chroot", "--network=host", "--layers=false", "--pull=never"]
        self._run("build", *options, "--file", dockerfile, "--tag", reference, *flags, context)

    def export(self, images: Mapping[str, str], place: Path) -> None:
        """One OCI archive, uncompressed: compressing takes longer than all else, and is undone a moment later."""
        names: dict[str, list[str]] = {}
        for name, reference in images.items():
            names.setdefault(reference, []).append(name)
        with cache.scratch() as folder:
            folders = {reference: folder / str(number) for number, reference in enumerate(names)}

            def push(reference: str) -> None:
                # Only the transport dir: leaves layers uncompressed.
                self._run("push", "--quiet", "--disable-compression", reference, f"dir:{folders[reference]}")

            with ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(push, names))
            oci.pack(place, {folders[reference]: given for reference, given in names.items()})

    def push(self, reference: str) -> None:
        """buildah push."""
        self._run("push", "--quiet", reference, f"docker://{reference}")

    def forget(self, keep: str) -> None:
        """buildah rmi."""
        with self.listing:
            for old in replaced(self._references(), keep):
                self._run("rmi", old)

    def _references(self) -> list[str]:
        return self._run("images", "--format", "{{.Name}}:{{.Tag}}").split()

    def clean(self) -> None:
        """Drop working containers that a cut-off build left behind, or the whole storage when that left it unusable."""
        try:
            self._run("rm", "--all")
            # It says nothing of images whose layers are gone; every later command does.
            self._references()
        except Failure as failure:
            print(f"    the image storage is unusable and made again: {failure.message.splitlines()[0]}", flush=True)
            shutil.rmtree(self._storage())
            self._run("rm", "--all")

    def _storage(self) -> Path:
        return cache.folder() / "buildah"

    def _run(self, *arguments: str | Path) -> str:
        storage: Command = ["--root", self._storage(), "--runroot", self.runroot, "--storage-driver", "overlay"]
        what = next((str(a) for a in arguments if str(a).startswith("localhost/")), str(arguments[0]))
        # The bind mount keeps buildah's own cache, whose place cannot be chosen, out of the host's /var/lib.
        enter = f'mount --bind "$0" {CONTAINERS} && exec buildah "$@"'
        wrapped: Command = ["unshare", "--mount", "sh", "-c", enter, self.runroot, *storage, *arguments]
        return run(wrapped, doing=f"buildah {arguments[0]} {what}")


def replaced(references: Iterable[str], keep: str) -> list[str]:
    """Those references that name the same image as ``keep`` with another tag."""
    name = keep.rpartition(":")[0]
    return [ref for ref in references if ref.rpartition(":")[0] == name and ref != keep]


def _base_key() -> str:
    return cache.key(DEBIAN, BASE_PACKAGES, BASE)


def _make_root(folder: Path) -> None:
    command: Command = [
        "mmdebstrap",
        "--quiet",
        "--variant=minbase",
        f"--include={BASE_PACKAGES}",
        DEBIAN,
        folder / "root.tar",
    ]
    with progress("making the images' base with mmdebstrap", usually="25 s"):
        run(command, log=cache.folder() / "build-root.log", doing="mmdebstrap")


@contextmanager
def builder(*, docker: bool) -> Iterator[Builder]:
    """The builder for this machine; holds the lock on the image storage until the block ends."""
    with cache.lock("images", doing="building images"):
        if docker:
            yield Docker()
            return
        made = not CONTAINERS.exists()
        with cache.scratch() as runroot:
            try:
                CONTAINERS.mkdir(exist_ok=True)
                buildah = Buildah(runroot)
                buildah.clean()
                yield buildah
            finally:
                if made:
                    CONTAINERS.rmdir()
