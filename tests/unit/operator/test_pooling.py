"""Do the pools fit the server, and does the pooler come and go with the specification."""

import base64

import pytest

from ccl_operator import names
from ccl_operator.api.v1alpha1 import Spec
from ccl_operator.pooling import demand, shortfall
from tests.unit.operator.conftest import SPEC, SimulatedCluster


def spec(**database: object) -> Spec:
    return Spec.model_validate({**SPEC, "database": {**SPEC["database"], **database}})


def test_one_default_pod_fits_a_server_of_100_connections_during_a_promotion():
    assert shortfall(spec(), web_pods=1, max_connections=100) == ""


def test_pools_that_do_not_fit_are_explained_with_what_to_change():
    assert shortfall(spec(), web_pods=2, max_connections=100) == (
        "database: 134 connections may be needed (6 pods during a promotion x 21, 5 direct, 3 reserved) and the server "
        "allows 100; lower database.pool.size or replicas, enable database.pooler, or raise max_connections"
    )


def test_with_a_pooler_only_its_own_connections_count():
    pooled = spec(pooler={"replicas": 2, "poolSize": 20})
    assert demand(pooled, web_pods=50).total == 48
    assert "lower database.pooler.poolSize" in shortfall(pooled, web_pods=1, max_connections=40)


@pytest.mark.parametrize("web_pods", [1, 2, 10])
def test_what_is_needed_and_not_one_less_is_enough(web_pods):
    total = demand(spec(), web_pods=web_pods).total
    assert shortfall(spec(), web_pods=web_pods, max_connections=total) == ""
    assert shortfall(spec(), web_pods=web_pods, max_connections=total - 1) != ""


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
