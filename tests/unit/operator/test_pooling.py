"""Do the pools fit the server, and does the pooler come and go with the specification."""

import base64
from datetime import timedelta

import pytest

from ccl_contract.schema import Database
from ccl_operator import names
from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.facts import lingering
from ccl_operator.inventory import Inventory
from ccl_operator.pooling import demand, shortfall
from tests.unit.operator.samples import SPEC, START, passing
from tests.unit.operator.simulated_cluster import SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"


def test_one_default_pod_fits_a_server_of_100_connections_during_a_promotion():
    assert shortfall(demand([20, 20], pods=2, pooler=None), max_connections=100) == ""


def test_pools_that_do_not_fit_are_explained_with_what_to_change():
    assert shortfall(demand([20, 20], pods=3, pooler=None), max_connections=100) == (
        "database: 134 connections may be needed (6 pods during a promotion x 21, 5 direct, 3 reserved) and the server "
        "allows 100; lower database.pool.size or replicas, enable database.pooler, or raise max_connections"
    )


def test_each_revision_counts_with_its_own_pool():
    asked = demand([60, 20], pods=3, pooler=None)
    assert asked.total == 3 * 61 + 3 * 21 + 8
    assert asked.parts.startswith("3 pods during a promotion x 61, 3 pods during a promotion x 21, ")


def test_with_a_pooler_only_its_own_connections_count_and_those_of_the_pod_that_replaces_another():
    asked = demand([], pods=100, pooler=Pooler(replicas=2, pool_size=20))
    assert asked.total == 3 * 20 + 8
    assert "lower database.pooler.poolSize or replicas, or raise" in shortfall(asked, max_connections=40)


def test_on_the_way_behind_the_pooler_both_count():
    assert demand([40], pods=3, pooler=Pooler(replicas=2, pool_size=20)).total == 3 * 41 + 3 * 20 + 8


@pytest.mark.parametrize("pods", [1, 2, 10])
def test_what_is_needed_and_not_one_less_is_enough(pods):
    asked = demand([20, 20], pods=pods, pooler=None)
    assert shortfall(asked, max_connections=asked.total) == ""
    assert shortfall(asked, max_connections=asked.total - 1) != ""


def allowing(max_connections):
    """Gate answer of a server with so many connections."""
    server = Database(version_num=170004, max_connections=max_connections)
    return lambda revision: passing(revision).model_copy(update={"database": server})


def decoded(cluster: SimulatedCluster, name: str) -> dict[str, str]:
    data = cluster.objects[names.SECRET, name]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


POOLED = {**SPEC["database"], "pooler": {}}


def test_a_pooler_stands_between_the_pods_and_the_database_and_migrations_go_past_it(promoted):
    before = decoded(promoted, f"ccl-ext-{promoted.status['stable']['revision']}")["DATABASE_URL"]
    promoted.change(database=POOLED)
    promoted.run()
    values = decoded(promoted, f"ccl-ext-{promoted.status['stable']['revision']}")
    assert "@ccl-pgbouncer.loans.svc:6432/" in values["DATABASE_URL"]
    assert values["DATABASE_DIRECT_URL"] == before
    assert (names.DEPLOYMENT, "ccl-pgbouncer") in promoted.objects
    assert promoted.status["images"]["pgbouncer"] == "localhost/ccl/pgbouncer:1"


def test_a_pooler_no_longer_asked_for_goes_only_after_the_switch(promoted):
    promoted.change(database=POOLED)
    promoted.run()
    pooled = promoted.status["stable"]["revision"]
    promoted.change(database=SPEC["database"])
    promoted.run(until=lambda: promoted.status["stable"]["revision"] != pooled)
    assert (names.DEPLOYMENT, "ccl-pgbouncer") in promoted.objects
    promoted.run()
    assert not [name for _, name in promoted.objects if name == "ccl-pgbouncer"]


def test_pools_that_do_not_fit_the_server_stall_and_leave_what_runs_alone(promoted):
    before = promoted.status["stable"]
    promoted.change(database={**SPEC["database"], "pool": {"size": 60}})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "the server allows 300" in promoted.condition_message("Stalled")
    assert promoted.status["stable"] == before
    assert promoted.condition("Ready") == ("True", "Serving")


def test_a_smaller_pool_is_accepted_only_when_the_old_pods_still_fit_beside_it(promoted):
    promoted.answers = dict.fromkeys((SPEC["image"], NEW), allowing(3 * 21 + 3 * 6 + 8 - 1))
    promoted.reconcile()
    promoted.change(image=NEW, database={**SPEC["database"], "pool": {"size": 5}})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert "3 pods during a promotion x 21, 3 pods during a promotion x 6" in promoted.condition_message("Stalled")


def test_what_fits_once_and_not_a_second_time_is_refused_the_first_time(promoted):
    """Accepted, it would stand in the way of the next image."""
    promoted.answers = dict.fromkeys((SPEC["image"], NEW), allowing(3 * 21 + 3 * 61 + 8))
    promoted.reconcile()
    promoted.change(database={**SPEC["database"], "pool": {"size": 60}})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")


def test_a_refusal_of_pools_ends_when_the_server_allows_more(promoted, migrated):
    promoted.change(database={**SPEC["database"], "pool": {"size": 60}})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    promoted.answers[SPEC["image"]] = allowing(1000)
    promoted.migrations[SPEC["image"]] = {**migrated, "database": {"version_num": 170004, "max_connections": 1000}}
    promoted.run()
    assert promoted.condition("Promoted") == ("True", "Promoted")
    assert promoted.status["database"]["maxConnections"] == 1000


def test_before_the_first_revision_a_new_generation_asks_the_server_again(cluster, migrated):
    image = SPEC["image"]
    cluster.migrations[image] = {**migrated, "database": {"version_num": 170004, "max_connections": 50}}
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec")
    assert "the server allows 50" in cluster.condition_message("Stalled")
    assert cluster.named(names.DEPLOYMENT) == []
    cluster.migrations[image] = migrated
    cluster.run()
    assert cluster.condition("Stalled") == ("True", "InvalidSpec"), "nothing has changed that could be noticed"
    cluster.change(promotion={**SPEC["promotion"], "deadline": "6m"})
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")


def test_refused_pools_change_nothing_in_what_runs(promoted):
    revision = promoted.status["stable"]["revision"]
    promoted.change(replicas=20, jobs={"replicas": 5})
    promoted.run()
    assert promoted.condition("Stalled") == ("True", "InvalidSpec")
    assert promoted.replicas(names.web("ccl", revision)) == 2
    assert promoted.replicas(names.jobs("ccl", revision)) == 1
    del promoted.objects[names.DEPLOYMENT, names.web("ccl", revision)]
    promoted.run()
    assert promoted.replicas(names.web("ccl", revision)) == 2


def test_a_candidate_waits_for_the_connections_of_pods_that_are_on_their_way_out(promoted):
    """Room for two revisions and not for three."""
    third = "localhost/ccl/ccl-service:3"
    promoted.answers = dict.fromkeys((SPEC["image"], NEW, third), allowing(6 * 21 + 8))
    promoted.reconcile()
    promoted.change(image=NEW)
    promoted.run(until=lambda: promoted.status["stable"]["image"] == NEW)
    promoted.change(image=third)
    most = 0
    while promoted.status["stable"]["image"] != third:
        promoted.reconcile()
        promoted.controllers()
        promoted.now += timedelta(seconds=1)
        most = max(most, sum("-web-" in name or "-jobs-" in name for name in promoted.named(names.POD)))
    assert most <= 6


def test_a_pod_on_a_node_that_does_not_answer_is_not_waited_for():
    def left(leaving):
        labels = names.labels("ccl", names.WEB, "0000000000")
        return Inventory({names.POD: ({"metadata": {"labels": labels, "deletionTimestamp": leaving}},)}, frozenset())

    due, overdue = left("2030-01-01T00:00:01Z"), left("2029-12-31T23:59:59Z")
    assert lingering(due, [], START) == {"0000000000": 1}
    assert lingering(due, ["0000000000"], START) == {}
    assert lingering(overdue, [], START) == {}
