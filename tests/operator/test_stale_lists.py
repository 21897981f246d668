"""Lists that are older than what is known already: an API server may answer from a cache that is behind."""

import asyncio
from functools import partial

from ccl_operator import names
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection
from tests.operator.operator_process import until

#: More than there are watches, so that each of them lists anew.
MANY = 40


async def test_lists_from_before_an_object_existed_make_the_operator_write_nothing(place: Place) -> None:
    async with DisturbedConnection(place.server).serving() as connection:
        kubeconfig = place.server.kubeconfig_for(OPERATOR.name, through=connection.url)
        operator = await asyncio.to_thread(place.launch_operator, kubeconfig)
        await asyncio.to_thread(operator.wait_ready)
        await asyncio.to_thread(place.create)
        await asyncio.to_thread(place.promote)
        before = place.writes()
        connection.stale, lists = True, connection.lists
        connection.faults.extend(["gone"] * MANY)
        connection.cut()
        await asyncio.to_thread(until, "every watch has listed anew", lambda: not connection.faults)
        assert connection.lists > lists
        place.api.delete(names.SERVICE, place.namespace, "ccl-preview")
        await asyncio.to_thread(until, "it sees what happens", partial(is_back, place, len(before)))
        assert place.writes()[len(before) :] == ["patch services/ccl-preview"]
        assert operator.ended() is None


def is_back(place: Place, writes: int) -> bool:
    return len(place.writes()) > writes and place.api.find(names.SERVICE, place.namespace, "ccl-preview") is not None
