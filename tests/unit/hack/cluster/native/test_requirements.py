"""What a machine must offer before the node is made."""

import json

import pytest

from hack.cluster.native import requirements
from hack.run import Failure


def links(**addresses):
    return json.dumps([{"ifname": name, "addr_info": [{"local": address}]} for name, address in addresses.items()])


def test_a_subnet_that_nobody_uses_is_fine():
    requirements.require_free_subnet(links(lo="127.0.0.1", eth0="10.12.3.4"))


def test_our_own_interface_of_an_earlier_node_does_not_count():
    requirements.require_free_subnet(json.dumps([{"ifname": "ccl-host", "addr_info": [{"local": "10.123.0.1"}]}]))


def test_a_subnet_in_use_is_refused_naming_the_interface():
    with pytest.raises(Failure, match="in use on this machine by vpn0"):
        requirements.require_free_subnet(links(vpn0="10.123.0.77"))
