"""An operator that dies behind any of its writes, the status included, leaves nothing its successor does not finish."""

import copy
import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from ccl_contract.keys import parse_key_file
from ccl_operator import names, secrets
from tests.unit.operator.samples import SPEC
from tests.unit.operator.simulated_cluster import Crash, SimulatedCluster
from tests.unit.operator.test_transitions import comparable

NEW: Final = "localhost/ccl/ccl-service:2"
Change = Callable[[SimulatedCluster], None]


def create(_: SimulatedCluster) -> None:
    """The object is new."""


def update(cluster: SimulatedCluster) -> None:
    cluster.change(image=NEW)


def rotate(cluster: SimulatedCluster) -> None:
    cluster.change(secrets={**SPEC["secrets"], "rotate": "today"})


def scale(cluster: SimulatedCluster) -> None:
    cluster.change(replicas=1, backup=None)


def prepared(change: Change) -> SimulatedCluster:
    """The cluster in which ``change`` is made, with nothing else to do."""
    cluster = SimulatedCluster(spec=copy.deepcopy(SPEC))
    if change is not create:
        cluster.run()
        cluster.writes = 0
    return cluster


def key_states(cluster: SimulatedCluster) -> dict[str, list[str]]:
    data = secrets.decoded(cluster.get(names.SECRET, names.keys("ccl")))
    return {
        name: [str(key.state) for key in parse_key_file(text).keys]
        for name, text in sorted(data.items())
        if name.endswith(".json")
    }


def outcome(cluster: SimulatedCluster) -> list[Any]:
    """What is there in the end, without what differs from run to run."""
    status = {
        "phase": cluster.status["phase"],
        "conditions": [[each["type"], each["status"], each["reason"]] for each in cluster.status["conditions"]],
        "rotate": cluster.status["secrets"].get("rotate"),
    }
    return [comparable(cluster), key_states(cluster), json.loads(json.dumps(status))]


def finish(cluster: SimulatedCluster) -> bool:
    """Let operators follow each other until there is nothing left to do; whether one of them died."""
    try:
        cluster.run()
    except Crash:
        cluster.run()
        return True
    return False


@pytest.mark.parametrize("change", [create, update, rotate, scale], ids=lambda change: change.__name__)
def test_a_death_behind_any_write_changes_nothing_about_the_end(change: Change) -> None:
    start = prepared(change)
    undisturbed = copy.deepcopy(start)
    change(undisturbed)
    undisturbed.run()
    wanted, writes = outcome(undisturbed), undisturbed.writes
    assert writes >= 4
    for after in range(1, writes + 1):
        cluster = copy.deepcopy(start)
        cluster.crash_after = after
        change(cluster)
        assert finish(cluster), f"behind write {after} of {writes}"
        assert outcome(cluster) == wanted, f"behind write {after} of {writes}"
