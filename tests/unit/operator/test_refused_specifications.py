"""A specification that is refused, in each way that there is: it is told, and what runs is kept up."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ccl_operator import names
from tests.unit.operator.samples import CONFIG, SPEC

NEW = "localhost/ccl/ccl-service:2"


def test_a_spec_that_breaks_a_rule_stalls_and_what_runs_is_kept_up(promoted):
    before, writes = promoted.status["stable"], promoted.writes
    promoted.change(environment="production", http={"corsOrigins": []}, replicas=3, sessions={})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "requires http.corsOrigins" in promoted.condition_message("Stalled")
    assert "replicas above 1 need sessions.redis" in promoted.condition_message("Stalled")
    assert promoted.condition("Ready") == ("True", "Serving")
    assert promoted.condition("SecretsValid") == ("True", "SecretsValid")
    assert promoted.condition("Promoted") == ("False", "InvalidSpec")
    assert promoted.status["stable"] == before
    assert promoted.replicas(names.web("ccl", before["revision"])) == 2
    assert promoted.writes == writes + 1, "the status alone"


def test_before_the_first_revision_nothing_is_made_of_a_spec_that_breaks_a_rule(cluster):
    cluster.change(environment="production", http={"corsOrigins": []})
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec")
    assert not [key for key in cluster.objects if key[0] not in names.READ_ONLY]


def test_a_spec_of_the_wrong_shape_stalls_with_the_field(promoted):
    promoted.change(replicas="many")
    promoted.reconcile()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "spec.replicas" in promoted.condition_message("Stalled")


def test_a_database_version_without_an_image_is_an_invalid_spec(cluster):
    cluster.change(database={"embedded": {"version": 15, "storage": "1Gi"}})
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec")


def test_a_kept_volume_of_another_major_version_is_not_started_on(promoted):
    promoted.delete_owner_and_recreate()
    volume = promoted.objects[names.VOLUME_CLAIM, "data-ccl-postgres-0"]
    volume["metadata"]["labels"] = {**volume["metadata"]["labels"], names.POSTGRES_VERSION_LABEL: "16"}
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "holds PostgreSQL 16" in promoted.condition_message("Stalled")


def break_a_rule(cluster):
    cluster.change(http={"corsOrigins": []})


def ask_for_too_many_connections(cluster):
    cluster.change(database={**SPEC["database"], "pool": {"size": 60}})


def ask_for_what_has_no_image(cluster):
    cluster.change(database={**SPEC["database"], "pooler": {}})
    return replace(CONFIG, pgbouncer_image="")


def lose_a_referenced_secret(cluster):
    cluster.referenced["openai"] = None


#: What refuses the specification, and the reason of Stalled. It may return another configuration of the operator.
REFUSALS = {
    "accepted": (lambda _: None, "NotStalled"),
    "a broken rule": (break_a_rule, "InvalidSpec"),
    "too many connections": (ask_for_too_many_connections, "InvalidSpec"),
    "a missing image": (ask_for_what_has_no_image, "InvalidSpec"),
    "a missing Secret": (lose_a_referenced_secret, "SecretsInvalid"),
}


@pytest.fixture(params=REFUSALS)
def refused(request, promoted):
    """A promoted cluster whose specification is refused now, in each way that leaves it readable."""
    refuse, reason = REFUSALS[request.param]
    promoted.config = refuse(promoted) or CONFIG
    promoted.run()
    assert promoted.condition("Stalled")[1] == reason
    return promoted


@pytest.mark.parametrize(
    "key",
    [
        (names.SERVICE, "ccl"),
        (names.STATEFUL_SET, "ccl-postgres"),
        (names.STATEFUL_SET, "ccl-redis"),
        (names.CRON_JOB, "ccl-backup"),
        (names.CRON_JOB, "ccl-maintain"),
        (names.SECRET, "ccl-monitor"),
        (names.SECRET, "ccl-direct"),
    ],
    ids=lambda key: key[1],
)
def test_a_deleted_child_comes_back(refused, key):
    del refused.objects[key]
    refused.run()
    assert key in refused.objects
    assert refused.condition("Ready") == ("True", "Serving")


@pytest.mark.parametrize("kind", [names.DEPLOYMENT, names.CONFIG_MAP, names.DISRUPTION_BUDGET])
def test_a_deleted_child_of_the_stable_revision_comes_back(refused, kind):
    comes_back(refused, kind)


def test_a_deleted_template_of_the_stable_revision_comes_back_from_the_specification(promoted):
    comes_back(promoted, names.CONTROLLER_REVISION)


def comes_back(cluster, kind):
    revision = cluster.status["stable"]["revision"]
    gone = [key for key in cluster.objects if key[0] == kind and revision in key[1]]
    before = {key: cluster.objects.pop(key) for key in gone}
    cluster.run()
    assert gone
    assert {key: cluster.objects[key]["metadata"]["labels"] for key in gone} == {
        key: each["metadata"]["labels"] for key, each in before.items()
    }
    assert cluster.status["stable"]["revision"] == revision


def test_a_refused_specification_is_told_once_and_then_nothing_is_written(refused):
    before, told = refused.writes, len(refused.events)
    refused.now += timedelta(minutes=1)
    refused.run()
    assert (refused.writes, len(refused.events)) == (before, told)


def test_a_refusal_ends_a_rollout_and_leaves_the_stable_revision(promoted):
    promoted.answers[NEW] = lambda _: None
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["rollout"]["phase"] == "Checking")
    before = promoted.status["stable"]
    break_a_rule(promoted)
    promoted.run()
    assert promoted.status["stable"] == before
    assert len(promoted.named(names.DEPLOYMENT)) == 2
