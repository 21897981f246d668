"""What the native node needs of this machine: looked at before anything is made, refused in one line with the fix."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from hack.cluster import build, cache
from hack.cluster.native.layout import HOST_LINK, NODE_ADDRESS, STATE
from hack.packages import ensure_packages
from hack.run import Failure, require_space, run

PACKAGES: Final = (
    "containerd",
    "runc",
    "buildah",
    "containernetworking-plugins",
    "iptables",
    "iproute2",
    "conntrack",
    "mmdebstrap",
)
SUBNET_PREFIX: Final = NODE_ADDRESS.rpartition(".")[0] + "."


def require() -> None:
    """Install missing Debian packages, load kernel modules. Raises Failure for whatever else is not as needed."""
    if os.geteuid() != 0:
        raise Failure("the native cluster needs root", fix="run as root, or start Docker")
    build.require_tools()
    ensure_packages(PACKAGES)
    # Built into some kernels, absent as modules there: what counts is whether the features are there afterwards.
    if shutil.which("modprobe"):
        subprocess.run(["modprobe", "-a", "overlay", "br_netfilter", "nf_conntrack"], capture_output=True, check=False)
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        raise Failure("the kernel has no br_netfilter, which Services need", fix="modprobe br_netfilter")
    require_free_subnet(run(["ip", "-j", "address"]))


def require_room() -> None:
    """Raise Failure when there is not enough disk space for builds, images and the node."""
    for place in (STATE, cache.folder()):
        require_space(place, cache.MIN_FREE_BYTES)


def require_free_subnet(addresses: str) -> None:
    """Raise Failure when another interface has an address of the node's subnet. ``addresses``: `ip -j address`."""
    for link in json.loads(addresses):
        for address in link.get("addr_info", []):
            if str(address.get("local", "")).startswith(SUBNET_PREFIX) and link["ifname"] != HOST_LINK:
                raise Failure(
                    f"the node's subnet {SUBNET_PREFIX}0/24 is in use on this machine by {link['ifname']}",
                    fix=f"take {link['ifname']} down, or use CCL_CLUSTER=existing",
                )
