"""Small decisions around the node."""

import json

from hack.cluster import build
from hack.cluster.native import node_images
from hack.cluster.native.node import node_is_ready


def node(**conditions):
    return json.dumps({"status": {"conditions": [{"type": k, "status": v} for k, v in conditions.items()]}})


def test_a_node_is_ready_when_its_condition_says_so():
    assert node_is_ready(node(MemoryPressure="False", Ready="True"))


def test_a_node_whose_kubelet_is_silent_or_new_is_not_ready():
    assert not node_is_ready(node(Ready="Unknown"))
    assert not node_is_ready("{}")


def test_tags_are_read_from_kubeadms_list():
    listing = "localhost/ccl/kube-proxy:v1.34.4\nlocalhost/ccl/coredns:v1.12.1\nregistry:5000/a/etcd:3.6.5-0\n"
    assert node_images.parse_tags(listing) == {"kube-proxy": "v1.34.4", "coredns": "v1.12.1", "etcd": "3.6.5-0"}


def test_the_files_name_the_version_that_is_built():
    for name in ("kubeadm.yaml", "storage.yaml"):
        text = node_images.render(name)
        assert f"v{build.KUBERNETES}" in text
        assert "@" not in text
