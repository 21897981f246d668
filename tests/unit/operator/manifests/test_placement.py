"""Where pods run, beside whom, and as whom: the same for all of them, told by the specification."""

import pytest

from ccl_operator import names
from tests.unit.operator.samples import SPEC
from tests.unit.operator.simulated_cluster import SimulatedCluster

TEMPLATE = {
    "labels": {"team": "loans"},
    "annotations": {"example.com/note": "hello"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "spot", "operator": "Exists"}],
    "priorityClassName": "high",
}
#: What of it decides on the node.
PLACE = {key: TEMPLATE[key] for key in ("nodeSelector", "tolerations", "priorityClassName")}
#: Component → field of the specification whose template its pods follow.
FIELDS = {
    names.WEB: "web",
    names.JOBS: "jobs",
    names.MIGRATE: "jobs",
    names.MAINTAIN: "jobs",
    names.BACKUP: "jobs",
    names.PGBOUNCER: "database.pooler",
    names.POSTGRES: "database.embedded",
    names.REDIS: "sessions.redis.embedded",
}
#: Pods of a Job take only the place.
OF_JOBS = {names.MIGRATE, names.MAINTAIN, names.BACKUP}
#: Theirs are programs of others.
WITHOUT_IDENTITY = {names.PGBOUNCER, names.POSTGRES, names.REDIS}


def spec(field: str | None) -> dict:
    """A specification with everything that has pods, and a template at one of its fields."""
    parts = {"web": {}, "jobs": {}, "database.pooler": {}, "database.embedded": dict(SPEC["database"]["embedded"])}
    parts["sessions.redis.embedded"] = {}
    if field is not None:
        parts[field]["template"] = TEMPLATE
    return {
        **SPEC,
        "web": parts["web"],
        "jobs": parts["jobs"],
        "database": {"embedded": parts["database.embedded"], "pooler": parts["database.pooler"]},
        "sessions": {"redis": {"embedded": parts["sessions.redis.embedded"]}},
    }


def templates(field: str | None = None) -> dict[str, dict]:
    """Component → pod template, after a promotion."""
    cluster = SimulatedCluster(spec=spec(field))
    cluster.run()
    bodies = [each["spec"] for (resource, _), each in cluster.objects.items() if resource in WORKLOADS]
    found = [body.get("template") or body["jobTemplate"]["spec"]["template"] for body in bodies]
    return {each["metadata"]["labels"][names.COMPONENT_LABEL]: each for each in found}


WORKLOADS = {names.DEPLOYMENT, names.STATEFUL_SET, names.JOB, names.CRON_JOB}


@pytest.mark.parametrize("field", sorted(set(FIELDS.values())))
def test_pods_go_where_the_template_of_their_field_says_and_no_others(field):
    plain, placed = templates(), templates(field)
    assert placed.keys() == FIELDS.keys()
    for component, template in placed.items():
        if FIELDS[component] == field:
            assert template["spec"].items() >= PLACE.items(), component
        else:
            assert template["spec"].keys() == plain[component]["spec"].keys(), component


@pytest.mark.parametrize("field", sorted(set(FIELDS.values())))
def test_pods_that_stay_carry_the_labels_and_annotations_of_their_field_beside_ours(field):
    for component, template in templates(field).items():
        carries = FIELDS[component] == field and component not in OF_JOBS
        labels = template["metadata"]["labels"]
        assert (labels.get("team") == "loans") is carries, component
        assert (template["metadata"].get("annotations") == TEMPLATE["annotations"]) is carries, component
        assert labels.items() >= names.labels("ccl", component).items()


@pytest.mark.parametrize("component", [names.WEB, names.JOBS, names.PGBOUNCER])
def test_pods_of_which_there_are_many_spread_over_nodes_and_zones_if_they_can(component):
    template = templates()[component]
    constraints = template["spec"]["topologySpreadConstraints"]
    assert [each["topologyKey"] for each in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    for each in constraints:
        assert (each["whenUnsatisfiable"], each["maxSkew"]) == ("ScheduleAnyway", 1)
        assert each["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        assert each["matchLabelKeys"] == ["pod-template-hash"]


def test_our_own_programs_have_the_identity_of_the_object_and_those_of_others_none():
    for component, template in templates().items():
        wanted = None if component in WITHOUT_IDENTITY else names.service_account("ccl")
        assert template["spec"].get("serviceAccountName") == wanted, component
        assert template["spec"]["automountServiceAccountToken"] is False
