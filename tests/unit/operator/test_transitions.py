"""Whatever way a specification came about, the objects in the end are those of a fresh start with it."""

import copy
import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_operator import names
from tests.unit.operator.samples import SPEC
from tests.unit.operator.simulated_cluster import SimulatedCluster

BACKUP: Final = SPEC["backup"]
DATABASE: Final = SPEC["database"]
REDIS: Final = SPEC["sessions"]
HTTP: Final = SPEC["http"]
TEMPLATE: Final = {"labels": {"team": "loans"}, "nodeSelector": {"disk": "fast"}}


def _one_of(field: str, *values: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from([{field: value} for value in values])


#: Every one leads from any specification that is taken to another.
CHANGES: Final = st.one_of(
    st.integers(1, 4).map(lambda number: {"image": f"localhost/ccl/ccl-service:{number}"}),
    st.integers(1, 4).map(lambda replicas: {"replicas": replicas, "sessions": REDIS}),
    st.just({"replicas": 1, "autoscaling": None, "sessions": {}}),
    st.just({"autoscaling": {"min": 2, "max": 4}, "sessions": REDIS}),
    _one_of("autoscaling", None),
    _one_of("backup", None, BACKUP, BACKUP | {"schedule": "30 3 * * *"}),
    _one_of(
        "web",
        {"resources": {"requests": {"cpu": "50m"}}},
        {"extraEnv": [{"name": "LOG_LEVEL", "value": "info"}]},
        {"template": TEMPLATE},
    ),
    _one_of("jobs", {"replicas": 2}, {"resources": {"requests": {"memory": "20Mi"}}}, {"template": TEMPLATE}),
    _one_of("environment", "production", "staging"),
    _one_of("promotion", {"minReady": "2s"}, {"minReady": "5s", "deadline": "8m"}),
    _one_of("database", DATABASE, DATABASE | {"pooler": {"poolSize": 5}}, DATABASE | {"pooler": {"replicas": 1}}),
    _one_of(
        "http", HTTP, HTTP | {"host": None}, HTTP | {"ingressClassName": "nginx"}, HTTP | {"host": "a.example.com"}
    ),
    _one_of("networkPolicy", None, {}, {"enabled": False}),
    _one_of("monitoring", None, {}, {"rules": False}),
    _one_of("deletionPolicy", "Retain", "Delete"),
)
#: A change, and how many passes the operator gets before the next; none: both are seen at once.
STEPS: Final = st.lists(st.tuples(CHANGES, st.integers(0, 25)), min_size=1, max_size=6)
#: Made by others, of the moment, or history.
PASSING: Final = {names.POD, names.ENDPOINT_SLICE, names.JOB, names.CONTROLLER_REVISION}
VOLATILE: Final = {"uid", "resourceVersion", "generation", "creationTimestamp", "ownerReferences"}


def comparable(cluster: SimulatedCluster) -> list[Any]:
    """What was made, without identities, moments and random values."""
    revision = cluster.status["stable"]["revision"]
    found = []
    for (resource, name), each in sorted(cluster.objects.items(), key=lambda item: (item[0][0].kind, item[0][1])):
        if resource in PASSING:
            continue
        metadata = {key: value for key, value in each["metadata"].items() if key not in VOLATILE}
        kept = {key: value for key, value in each.items() if key not in {"status", "metadata"}}
        if resource == names.SECRET:
            kept["data"] = sorted(each["data"])
        text = json.dumps([resource.kind, name, metadata, kept], sort_keys=True)
        found.append(json.loads(text.replace(revision, "REVISION")))
    return sorted(found, key=str)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(STEPS)
def test_any_way_to_a_specification_ends_in_the_objects_of_a_fresh_start(
    steps: list[tuple[dict[str, Any], int]],
) -> None:
    travelled = SimulatedCluster(served_kinds=frozenset(names.OPTIONAL))
    for change, passes in steps:
        travelled.change(**change)
        for _ in range(passes):
            travelled.reconcile()
            travelled.controllers()
    travelled.run()
    fresh = SimulatedCluster(spec=copy.deepcopy(travelled.spec), served_kinds=frozenset(names.OPTIONAL))
    fresh.run()
    assert travelled.status["phase"] == fresh.status["phase"] == "Ready"
    # A volume and its key outlive the backups that filled it.
    assert [each for each in comparable(travelled) if not _outlives(each, travelled)] == comparable(fresh)


def _outlives(item: list[Any], cluster: SimulatedCluster) -> bool:
    return cluster.spec.get("backup") is None and item[:2] == [names.VOLUME_CLAIM.kind, names.backups("ccl")]
