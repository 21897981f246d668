"""Where the native node keeps its things, and its fixed addresses. Only constants."""

from pathlib import Path
from typing import Final

#: Everything that outlives a process; removed as a whole by `down`.
STATE: Final = Path("/var/lib/ccl-cluster")
#: Holds NODE_FILE on the host; inside the node /run is a file system of its own.
RUN: Final = Path("/run/ccl-cluster")
#: Identity of the node's first process, as seen from the host.
NODE_FILE: Final = RUN / "node.json"
SOCKET: Final = RUN / "containerd.sock"
AUDIT_LOG: Final = STATE / "audit-log" / "audit.log"
#: Folders of the host that this `up` had to make as mount points, one a line.
MADE_FOLDERS: Final = STATE / "made-folders"
FILES: Final = Path(__file__).parent / "files"

#: All processes of the node are in control groups below this one, and in none else.
CGROUP: Final = "ccl-cluster"
CGROUP_MOUNT: Final = Path("/sys/fs/cgroup")

HOST_LINK: Final = "ccl-host"
HOST_ADDRESS: Final = "10.123.0.1"
NODE_ADDRESS: Final = "10.123.0.2"
PREFIX: Final = 24

#: Folders that Kubernetes programs write to by fixed name. In the node's mount namespace each is a folder below STATE,
#: so that the node can neither see nor touch what another kubelet of this machine keeps there.
PRIVATE_FOLDERS: Final = {
    Path("/etc/kubernetes"): STATE / "etc-kubernetes",
    Path("/var/lib/kubelet"): STATE / "kubelet",
    Path("/var/lib/etcd"): STATE / "etcd",
    Path("/var/lib/cni"): STATE / "cni-state",
    Path("/var/log/pods"): STATE / "log-pods",
    Path("/var/log/containers"): STATE / "log-containers",
    Path("/usr/libexec/kubernetes"): STATE / "libexec",
}
