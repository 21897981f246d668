"""Whatever way a specification came about, the objects in the end are those of a fresh start with it."""

import copy
import json
from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from ccl_operator import names
from tests.unit.operator.conftest import SPEC, SimulatedCluster

BACKUP: Final = SPEC["backup"]
CHANGES: Final = st.one_of(
    st.integers(1, 4).map(lambda number: {"image": f"localhost/ccl/ccl-service:{number}"}),
    st.integers(1, 4).map(lambda replicas: {"replicas": replicas}),
    st.sampled_from([None, BACKUP, BACKUP | {"schedule": "30 3 * * *"}]).map(lambda backup: {"backup": backup}),
    st.sampled_from(["50m", "100m"]).map(lambda cpu: {"web": {"resources": {"requests": {"cpu": cpu}}}}),
    st.sampled_from(["production", "staging"]).map(lambda name: {"environment": name}),
    st.sampled_from(["10Mi", "20Mi"]).map(lambda size: {"jobs": {"resources": {"requests": {"memory": size}}}}),
    st.sampled_from([{"minReady": "2s"}, {"minReady": "5s", "deadline": "8m"}]).map(lambda found: {"promotion": found}),
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


@settings(max_examples=50, deadline=None, derandomize=True)
@given(STEPS)
def test_any_way_to_a_specification_ends_in_the_objects_of_a_fresh_start(
    steps: list[tuple[dict[str, Any], int]],
) -> None:
    travelled = SimulatedCluster()
    for change, passes in steps:
        travelled.change(**change)
        for _ in range(passes):
            travelled.reconcile()
            travelled.controllers()
    travelled.run()
    fresh = SimulatedCluster(spec=copy.deepcopy(travelled.spec))
    fresh.run()
    assert travelled.status["phase"] == fresh.status["phase"] == "Ready"
    # A volume and its key outlive the backups that filled it.
    assert [each for each in comparable(travelled) if not _outlives(each, travelled)] == comparable(fresh)


def _outlives(item: list[Any], cluster: SimulatedCluster) -> bool:
    return cluster.spec.get("backup") is None and item[:2] == [names.VOLUME_CLAIM.kind, names.backups("ccl")]
