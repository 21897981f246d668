"""The watch of the operator's own kind, which is kopf's, meets what API servers answer."""

import asyncio

import pytest

from ccl_operator import names
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection, Fault
from tests.operator.operator_process import until


@pytest.mark.parametrize("fault", ["gone", "broken", "refused", "error", "cut", "end"])
async def test_an_object_made_after_a_disturbed_watch_is_seen(place: Place, fault: Fault) -> None:
    async with DisturbedConnection(place.server, names.OWNER.plural).serving() as connection:
        kubeconfig = place.server.kubeconfig_for(OPERATOR.name, through=connection.url)
        operator = await asyncio.to_thread(place.launch_operator, kubeconfig)
        await asyncio.to_thread(operator.wait_ready)
        connection.faults.append(fault)
        connection.cut()
        await asyncio.to_thread(until, "the fault is met", lambda: not connection.faults)
        await asyncio.to_thread(place.create)
        await asyncio.to_thread(until, "it is seen", lambda: place.owner().get("status"))
        await asyncio.to_thread(place.create, "another")
        await asyncio.to_thread(until, "the watch goes on", lambda: place.owner("another").get("status"))
        assert operator.ended() is None, "the same process goes on"
