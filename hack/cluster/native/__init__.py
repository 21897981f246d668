"""One kubeadm node on this machine without Docker, in namespaces of its own (Linux and root)."""

from hack.cluster.native.node import Native

__all__ = ["Native"]
