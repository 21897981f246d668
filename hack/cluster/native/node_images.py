"""The images that the node itself runs on: one archive, made of a Debian root file system and the node binary."""

from pathlib import Path
from typing import Final

from hack.cluster import build, cache
from hack.cluster.native import oci
from hack.cluster.native.layout import FILES
from hack.run import Command, progress, run

REPOSITORY: Final = "localhost/ccl"
SUITE: Final = "bookworm"
#: kube-proxy needs iptables and kmod; the helper pods of the volume provisioner a shell.
PACKAGES: Final = "iptables,conntrack,ca-certificates,kmod"
PROVISIONER_TAG: Final = build.LOCAL_PATH.rpartition("@")[2]
#: To be raised when images.tar is put together differently.
LAYOUT: Final = "1"
SHARED: Final = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd")


def render(name: str) -> str:
    """A file of files/ with the versions filled in."""
    text = (FILES / name).read_text()
    return text.replace("@KUBERNETES@", f"v{build.KUBERNETES}").replace("@PROVISIONER@", PROVISIONER_TAG)


def parse_tags(listing: str) -> dict[str, str]:
    """Tags by image name from the output of `kubeadm config images list`."""
    references = [line.strip() for line in listing.splitlines() if ":" in line]
    return {ref.rpartition("/")[2].partition(":")[0]: ref.rpartition(":")[2] for ref in references}


def root_file_system() -> Path:
    """The Debian root file system as a tar file, made when missing."""

    def make(folder: Path) -> None:
        target = folder / "root.tar"
        command: Command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", SUITE, target]
        with progress("making the node's root file system with mmdebstrap", usually="20 s"):
            run(command, log=cache.folder() / "build-root.log", doing="mmdebstrap")

    return cache.entry("node-root", cache.key(SUITE, PACKAGES), make) / "root.tar"


def archive() -> Path:
    """An OCI archive with every image that kubeadm expects, and the volume provisioner; made when missing."""
    programs, root = build.node_folder(), root_file_system()

    def make(folder: Path) -> None:
        with progress("writing the node's images"):
            _write(folder, programs, root)

    # A running node is kept as long as this key stays: it tells what the node is made of, not how this code is worded.
    key = cache.key(programs.name, root.parent.name, FILES, LAYOUT)
    return cache.entry("node-images", key, make) / "images.tar"


def _write(folder: Path, programs: Path, root: Path) -> None:
    config = folder / "kubeadm.yaml"
    config.write_text(render("kubeadm.yaml"))
    tags = parse_tags(run([programs / "kubeadm", "config", "images", "list", "--config", config]))
    kube, pause, provisioner = folder / "kube.tar", folder / "pause.tar", folder / "provisioner.tar"
    names = {f"usr/local/bin/{name}": "kube" for name in (*SHARED, "kubectl")}
    oci.layer(kube, {"usr/local/bin/kube": programs / "kube"}, names | {"coredns": "/usr/local/bin/kube"})
    oci.layer(pause, {"pause": programs / "pause"}, {})
    oci.layer(provisioner, {"local-path-provisioner": programs / "local-path-provisioner"}, {})
    shared = (f"{REPOSITORY}/node:v{build.KUBERNETES}", *(f"{REPOSITORY}/{name}:{tags[name]}" for name in SHARED))
    images = (
        oci.Image(shared, (root, kube)),
        oci.Image((f"{REPOSITORY}/coredns:{tags['coredns']}",), (root, kube), ("/coredns",)),
        oci.Image((f"{REPOSITORY}/pause:{tags['pause']}",), (pause,), ("/pause",)),
        oci.Image((f"{REPOSITORY}/local-path-provisioner:{PROVISIONER_TAG}",), (provisioner,)),
    )
    oci.write(folder / "images.tar", images)
    for part in (kube, pause, provisioner):
        part.unlink()
