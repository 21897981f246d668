"""A missing permission is named, where whoever has to grant it looks."""

import base64
import re
import time
from typing import Any

from ccl_operator import names
from ccl_operator.runtime import access, credentials, rbac
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.metrics import Metrics
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import ROLES, Place
from tests.operator.operator_process import OperatorProcess, until


def _without(plural: str, *verbs: str) -> list[dict[str, Any]]:
    return [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb not in verbs]}
        if rule["resources"] == [plural]
        else rule
        for rule in rbac.rules()
    ]


def _set_rules(place: Place, rules: list[dict[str, Any]]) -> None:
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator", {"rules": rules})


def test_a_missing_write_permission_is_named_in_the_condition_and_ends_when_granted(place: Place) -> None:
    _set_rules(place, _without("statefulsets", "create"))
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "Forbidden")
    message = place.condition("Stalled")["message"]
    assert "statefulsets" in message
    assert "create" in message
    _set_rules(place, rbac.rules())
    place.promote()


def test_a_missing_permission_is_told_in_an_event_and_a_metric_too(place: Place) -> None:
    _set_rules(place, _without("statefulsets", "create"))
    operator = place.start_operator()
    place.create()

    def told() -> bool:
        events = place.api.list(rbac.EVENT, place.namespace)
        return any(event["reason"] == "Forbidden" and "statefulsets" in event["note"] for event in events)

    until("the event is there", told)
    assert operator.metric('ccl_operator_forbidden_total{resource="statefulsets"}') >= 1


def test_without_a_watch_permission_the_operator_ends_and_names_it(place: Place) -> None:
    _set_rules(place, _without("pods", "watch"))
    operator = place.launch_operator()
    assert operator.wait_ended() == 1
    assert f"watch pods of the core API group in namespace {place.namespace}" in operator.log()


async def test_the_check_at_the_start_names_every_single_permission_of_the_table(place: Place) -> None:
    _set_rules(place, [])
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator-lease", {"rules": []})
    wanted = {(verb, one.plural) for one in rbac.PERMISSIONS for verb in one.verbs}
    wanted |= {(verb, one.plural) for one in (rbac.LEASE_CREATED, rbac.LEASE_KEPT) for verb in one.verbs}
    found = await _missing(place)
    assert {(one.verb, one.plural) for one in found} == wanted
    assert {one.namespace for one in found} == {place.namespace}


async def test_with_exactly_the_table_nothing_is_missing(place: Place) -> None:
    assert await _missing(place) == ()


async def _missing(place: Place) -> tuple[access.Missing, ...]:
    configuration = await credentials.load({"KUBECONFIG": str(place.server.kubeconfig_for(OPERATOR.name))})
    async with Client(configuration, Metrics(), time.monotonic) as client:
        return await access.missing(client, [place.namespace], lease_namespace=place.namespace, lease="ccl-operator")


def test_without_the_permission_to_keep_the_lease_the_operator_ends_and_names_it(place: Place) -> None:
    only_create = [rule for rule in rbac.lease_rules("ccl-operator") if "create" in rule["verbs"]]
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator-lease", {"rules": only_create})
    operator = place.launch_operator()
    assert operator.wait_ended() == 1
    assert f'update leases of \\"coordination.k8s.io\\" in namespace {place.namespace}' in operator.log()


#: Revisions are deleted when there are more than a history's worth of them.
NOT_IN_THIS_LIFE = {("delete", "controllerrevisions")}


def test_every_verb_on_what_a_life_touches_is_used_in_it(place: Place) -> None:
    operator = place.start_operator()
    place.create(promotion={"minReady": "0s", "keepPrevious": "0s"})
    place.promote()
    url = base64.b64encode(b"redis://:0ther-Passw0rd@redis.example.com/0").decode()
    place.api.create(names.SECRET, place.namespace, {"metadata": {"name": "redis"}, "data": {"url": url}})
    redis = {"embedded": None, "urlFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}}
    change = {"image": "registry.example/ccl-service:2", "replicas": 1, "backup": None, "sessions": {"redis": redis}}
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": change})
    touched = {"configmaps", "deployments", "controllerrevisions", "poddisruptionbudgets", "cronjobs", "statefulsets"}
    wanted = {
        (verb, one.resource.plural)
        for one in rbac.PERMISSIONS
        for verb in one.verbs
        if one.resource.plural in touched or one.resource == names.OWNER
    } - NOT_IN_THIS_LIFE

    def all_used() -> bool:
        place.hand.step()
        wanted.difference_update(_used(operator))
        return not wanted

    until("every verb is used", all_used, timeout=60)


def _used(operator: OperatorProcess) -> set[tuple[str, str]]:
    """Verb and kind of every request that was allowed (404 too); one that made something counts as create too."""
    found = set()
    pattern = r'^ccl_operator_api_requests_total{code="(2..|404)",resource="(.*)",verb="(.*)"}'
    for code, resource, verb in re.findall(pattern, operator.page("/metrics"), re.MULTILINE):
        found |= {(verb, resource)} | ({("create", resource)} if code == "201" else set())
    # kopf watches our own kind with a client of its own.
    return found | {("watch", names.OWNER.plural)}


def test_no_permission_is_a_wildcard_and_none_allows_to_delete_volumes() -> None:
    """The suite runs with exactly the generated role; here its size is held down."""
    for rule in rbac.rules():
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
    volumes = next(rule for rule in rbac.rules() if rule["resources"] == [names.VOLUME_CLAIM.plural])
    assert "delete" not in volumes["verbs"]


def test_without_the_permission_to_make_secrets_nothing_is_derived_from_keys(place: Place) -> None:
    _set_rules(place, _without("secrets", "create"))
    place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "Forbidden")
    writes = len(place.writes())
    until("it has been tried again", lambda: len(place.writes()) > writes)
    assert {item["kind"] for item in place.written_children()} == set()
    _set_rules(place, rbac.rules())
    place.promote()
    assert len(place.api.list(names.CONTROLLER_REVISION, place.namespace)) == 1
