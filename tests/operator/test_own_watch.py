"""The watch of the operator's own kind, which is kopf's, meets what API servers answer."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from ccl_operator import names
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import Place
from tests.operator.disturbed_connection import DisturbedConnection, Fault
from tests.operator.operator_process import OperatorProcess, until


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
        await asyncio.to_thread(until, "it is seen", partial(seen_by, place, operator, kubeconfig))


def seen_by(place: Place, operator: OperatorProcess, kubeconfig: Path) -> bool:
    """Whether the object has a status. kopf takes an unknown error for the end: then the kubelet's part is played."""
    if operator.ended() is not None and operator is place.processes[-1]:
        assert operator.ended() == 1
        place.launch_operator(kubeconfig)
    return bool(place.owner().get("status"))
