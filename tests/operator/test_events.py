"""Kubernetes events hold nobody up, and none is lost when the operator is asked to end."""

import asyncio

from ccl_operator.runtime.rbac import EVENT
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection
from tests.operator.operator_process import until

#: There is no image for it: each object is told so once, and that is all there is to do.
REFUSED = {"database": {"embedded": {"version": 16, "storage": "1Gi"}}}
NAMES = ("one", "another")


async def test_statuses_do_not_wait_for_events_and_an_operator_that_is_asked_to_end_sends_them_first(
    place: Place,
) -> None:
    async with DisturbedConnection(place.server).serving() as connection:
        kubeconfig = place.server.kubeconfig_for(OPERATOR.name, through=connection.url)
        operator = await asyncio.to_thread(place.launch_operator, kubeconfig)
        await asyncio.to_thread(operator.wait_ready)
        connection.takes_events.clear()
        for name in NAMES:
            await asyncio.to_thread(place.create, name, **REFUSED)
        await asyncio.to_thread(
            until, "both are refused", lambda: all(place.is_true("Stalled", name) for name in NAMES)
        )
        assert place.api.list(EVENT, place.namespace) == []
        connection.takes_events.set()
        assert await asyncio.to_thread(operator.stop) == 0
    told = {(event["regarding"]["name"], event["type"]) for event in place.api.list(EVENT, place.namespace)}
    assert told == {(name, "Warning") for name in NAMES}
