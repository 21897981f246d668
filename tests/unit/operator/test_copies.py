"""Revisions in use keep the database they were proven with, whatever the Secrets hold today."""

import base64
import re
from typing import Any

import pytest

from ccl_operator import names
from tests.unit.operator.samples import SPEC, secret
from tests.unit.operator.simulated_cluster import SimulatedCluster

NEW = "localhost/ccl/ccl-service:2"
GOOD = "postgresql://u:first@good.example.com:5432/d"
POOLED: dict[str, Any] = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}, "pooler": {}}


def decoded(cluster: SimulatedCluster, name: str) -> dict[str, str]:
    data = cluster.objects[names.SECRET, name]["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def copy_of(cluster: SimulatedCluster, revision: str) -> dict[str, str]:
    return decoded(cluster, names.ext("ccl", revision))


def stable(cluster: SimulatedCluster) -> str:
    return str(cluster.status["stable"]["revision"])


def behind(cluster: SimulatedCluster, revision: str) -> dict[str, str]:
    """Where the pooler brings a pod of this revision, with the name and the account that it signs in with."""
    url = re.fullmatch(r"postgresql://(\w+):([\w-]+)@[^/]+/(\w+)", copy_of(cluster, revision)["DATABASE_URL"])
    assert url is not None
    files = decoded(cluster, "ccl-pgbouncer")
    assert f'"{url[1]}" "{url[2]}"\n' in files["userlist.txt"]
    (entry,) = re.findall(rf"^{url[3]} = (.*)$", files["pgbouncer.ini"], re.MULTILINE)
    return dict(re.findall(r"(\w+)='([^']*)'", entry))


@pytest.fixture
def pooled() -> SimulatedCluster:
    cluster = SimulatedCluster(spec={**SPEC, "database": POOLED})
    cluster.referenced["db"] = secret(url=GOOD)
    cluster.run()
    assert cluster.condition("Promoted") == ("True", "Promoted")
    return cluster


@pytest.mark.parametrize("url", ["mysql://u:p@bad.example.com/d", "postgresql://", "postgresql://u:p@h1,h2/d"])
def test_a_refused_address_reaches_neither_the_pooler_nor_upkeep_and_backups(pooled, url):
    before = decoded(pooled, "ccl-pgbouncer"), decoded(pooled, "ccl-direct")
    pooled.referenced["db"] = secret(url=url)
    pooled.run()
    assert pooled.condition("SecretsValid") == ("False", "SecretsInvalid")
    assert (decoded(pooled, "ccl-pgbouncer"), decoded(pooled, "ccl-direct")) == before


def test_an_unproven_address_reaches_its_own_revision_only(pooled):
    old = stable(pooled)
    pooled.answers[NEW] = lambda _: None
    pooled.referenced["db"] = secret(url=GOOD.replace("good", "other"))
    pooled.change(image=NEW)
    pooled.run(until=lambda: pooled.status["rollout"]["phase"] == "Checking")
    assert behind(pooled, old)["host"] == "good.example.com"
    assert behind(pooled, pooled.status["rollout"]["revision"])["host"] == "other.example.com"
    assert decoded(pooled, "ccl-direct")["DATABASE_URL"] == GOOD
    pooled.run()
    assert pooled.condition("Promoted") == ("False", "CheckingDeadlineExceeded")
    assert "other" not in decoded(pooled, "ccl-pgbouncer")["pgbouncer.ini"]
    assert decoded(pooled, "ccl-direct")["DATABASE_URL"] == GOOD


def test_after_the_switch_the_old_server_stays_until_the_old_pods_go(pooled):
    old = stable(pooled)
    pooled.referenced["db"] = secret(url=GOOD.replace("good", "other"))
    pooled.run(until=lambda: stable(pooled) != old)
    pooled.reconcile()
    assert behind(pooled, old)["host"] == "good.example.com"
    assert behind(pooled, stable(pooled))["host"] == "other.example.com"
    pooled.run()
    assert "good.example.com" not in decoded(pooled, "ccl-pgbouncer")["pgbouncer.ini"]
    assert "other.example.com" in decoded(pooled, "ccl-direct")["DATABASE_URL"]


def test_a_new_password_of_the_same_account_is_followed_at_once(pooled):
    old = stable(pooled)
    pooled.referenced["db"] = secret(url=GOOD.replace("first", "second"))
    pooled.reconcile()
    assert stable(pooled) == old
    assert behind(pooled, old)["password"] == "second"
    assert decoded(pooled, "ccl-direct")["DATABASE_URL"] == GOOD.replace("first", "second")
    pooled.run()
    assert stable(pooled) != old
    assert copy_of(pooled, stable(pooled))["PGBOUNCER_SERVER_URL"] == GOOD.replace("first", "second")


def test_a_followed_password_stays_while_a_later_address_is_refused(pooled):
    pooled.migrations[NEW] = "no such role"
    pooled.referenced["db"] = secret(url=GOOD.replace("first", "second"))
    pooled.change(image=NEW)
    pooled.run()
    pooled.referenced["db"] = secret(url="nothing")
    pooled.run()
    assert behind(pooled, stable(pooled))["password"] == "second"
    assert "second" in decoded(pooled, "ccl-direct")["DATABASE_URL"]


def test_a_lost_configuration_comes_back_while_an_address_is_refused(pooled):
    pooled.referenced["db"] = secret(url="mysql://elsewhere")
    pooled.run()
    for kind in (names.SECRET, names.DEPLOYMENT, names.SERVICE, names.DISRUPTION_BUDGET):
        del pooled.objects[kind, "ccl-pgbouncer"]
    del pooled.objects[names.SECRET, "ccl-direct"]
    pooled.run()
    assert behind(pooled, stable(pooled))["host"] == "good.example.com"
    assert (names.DEPLOYMENT, "ccl-pgbouncer") in pooled.objects
    assert decoded(pooled, "ccl-direct")["DATABASE_URL"] == GOOD


def test_lost_keys_do_not_lock_the_running_pods_out_of_the_pooler(pooled):
    old = stable(pooled)
    pooled.answers[NEW] = lambda _: None
    del pooled.objects[names.SECRET, "ccl-keys"]
    pooled.change(image=NEW)
    pooled.run(until=lambda: pooled.status["rollout"]["phase"] == "Checking")
    new = pooled.status["rollout"]["revision"]
    assert copy_of(pooled, old)["DATABASE_URL"] != copy_of(pooled, new)["DATABASE_URL"]
    assert behind(pooled, old) == behind(pooled, new)


def test_revisions_on_the_same_server_share_its_connections(pooled):
    old = copy_of(pooled, stable(pooled))["DATABASE_URL"]
    pooled.change(image=NEW)
    pooled.run()
    assert pooled.status["stable"]["image"] == NEW
    assert copy_of(pooled, stable(pooled))["DATABASE_URL"] == old


def test_a_pooler_in_front_of_another_way_reaches_the_server_of_its_own_url(pooled):
    pooled.referenced["db"] = secret(url=GOOD, direct="postgresql://u:p@direct.example.com:5433/d")
    pooled.change(database={**POOLED, "directUrlFrom": {"secretKeyRef": {"name": "db", "key": "direct"}}})
    pooled.run()
    assert behind(pooled, stable(pooled))["host"] == "good.example.com"
    assert "direct.example.com" in decoded(pooled, "ccl-direct")["DATABASE_URL"]
    before = stable(pooled)
    pooled.referenced["db"] = secret(url=GOOD.replace("good", "third"), direct="postgresql://u:p@direct.example.com/d")
    pooled.run()
    assert stable(pooled) != before
    assert behind(pooled, stable(pooled))["host"] == "third.example.com"


def test_a_copy_that_does_not_name_the_server_behind_the_pooler_means_the_direct_one(pooled):
    """As earlier versions of the operator made them."""
    revision = stable(pooled)
    del pooled.objects[names.SECRET, names.ext("ccl", revision)]["data"]["PGBOUNCER_SERVER_URL"]
    pooled.answers[NEW] = lambda _: None
    pooled.change(image=NEW)
    pooled.reconcile()
    assert stable(pooled) == revision
    assert behind(pooled, revision)["host"] == "good.example.com"


def test_a_pooler_that_is_switched_off_serves_its_pods_until_they_are_gone(pooled):
    old = stable(pooled)
    pooled.answers[NEW] = lambda _: None
    pooled.change(image=NEW, database={**POOLED, "pooler": {"enabled": False}})
    pooled.run(until=lambda: pooled.status["rollout"]["phase"] == "Checking")
    del pooled.objects[names.SECRET, "ccl-pgbouncer"]
    pooled.reconcile()
    assert behind(pooled, old)["host"] == "good.example.com"
    del pooled.answers[NEW]
    pooled.run()
    assert not [name for _, name in pooled.objects if name == "ccl-pgbouncer"]


def test_the_key_that_upkeep_reads_is_the_stable_revisions(pooled):
    source = {"jwt": {"secretKeyRef": {"name": "own", "key": "jwt"}}}
    pooled.referenced["own"] = secret(jwt="k" * 40)
    pooled.change(secrets={**SPEC["secrets"], **source})
    pooled.run()
    pooled.answers[NEW] = lambda _: None
    pooled.referenced["own"] = secret(jwt="n" * 40)
    pooled.change(image=NEW)
    pooled.run()
    assert pooled.condition("Promoted")[0] == "False"
    assert decoded(pooled, "ccl-direct")["JWT_SECRET"] == "k" * 40
