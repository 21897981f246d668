"""A missing permission is named, where whoever has to grant it looks."""

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from ccl_operator import names
from ccl_operator.actions import Apply, Delete, Key, Resource
from ccl_operator.children import HISTORY
from ccl_operator.manifests.meta import Target, owner_reference
from ccl_operator.runtime import access, credentials, rbac
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client, path
from ccl_operator.runtime.errors import Forbidden
from ccl_operator.runtime.metrics import Metrics
from ccl_operator.runtime.reflector import Reflector
from ccl_operator.runtime.sinks import ChildSink
from ccl_operator.runtime.writer import Writer
from hack.cluster.apiserver import OPERATOR
from tests.operator.conftest import NAMESPACE, ROLES, Place
from tests.operator.kubernetes_api import Json, KubernetesApi
from tests.operator.monitoring_kinds import install
from tests.operator.operator_process import OperatorProcess, until
from tests.unit.operator.samples import SPEC as CHILD_SPEC
from tests.unit.operator.simulated_cluster import SimulatedCluster

QUOTA = Resource("", "v1", "resourcequotas", "ResourceQuota")


def _without(plural: str, *verbs: str) -> list[dict[str, Any]]:
    rules = [
        rule | {"verbs": [verb for verb in rule["verbs"] if verb not in verbs]}
        if rule["resources"] == [plural]
        else rule
        for rule in rbac.rules()
    ]
    return [rule for rule in rules if rule["verbs"]]


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
    assert {one.plural for one in found if one.vital and one.verb not in rbac.WATCHED} == {rbac.LEASE.plural}
    assert all(one.vital for one in found if one.verb in rbac.WATCHED)


async def test_with_exactly_the_table_nothing_is_missing(place: Place) -> None:
    assert await _missing(place) == ()


async def _missing(place: Place) -> tuple[access.Missing, ...]:
    async with _client(place) as client:
        return await access.missing(client, [place.namespace], lease_namespace=place.namespace, lease="ccl-operator")


@asynccontextmanager
async def _client(place: Place, metrics: Metrics | None = None) -> AsyncIterator[Client]:
    """A client with the operator's permissions."""
    configuration = await credentials.load({"KUBECONFIG": str(place.server.kubeconfig_for(OPERATOR.name))})
    async with Client(configuration, metrics or Metrics(), time.monotonic) as client:
        yield client


async def test_a_watch_that_is_not_allowed_any_more_is_told_at_once(place: Place) -> None:
    _set_rules(place, _without("configmaps", "watch"))
    until("the role is in force", lambda: not _may(place, "watch", names.CONFIG_MAP))
    metrics = Metrics()
    async with _client(place, metrics) as client:
        reflector = Reflector(
            client,
            names.CONFIG_MAP,
            place.namespace,
            "",
            ChildSink(Cache(), names.CONFIG_MAP, lambda _: None),
            clock=time.monotonic,
            random=lambda: 0.0,
            failures=metrics.watch_failures,
        )
        with capture_logs() as logs:
            running = asyncio.create_task(reflector.run())
            async with asyncio.timeout(30):
                while not logs:  # noqa: ASYNC110 - a reflector says nothing else
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.wait([running])
    assert (logs[0]["log_level"], logs[0]["action"]) == ("error", "access.missing")
    assert 'cannot watch resource "configmaps"' in logs[0]["permission"]
    counted = metrics.registry.get_sample_value("ccl_operator_forbidden_total", {"resource": "configmaps"})
    assert counted is not None
    assert counted >= 1


def test_without_the_permission_to_keep_the_lease_the_operator_ends_and_names_it(place: Place) -> None:
    only_create = [rule for rule in rbac.lease_rules("ccl-operator") if "create" in rule["verbs"]]
    place.api.patch(ROLES["Role"], place.namespace, "ccl-operator-lease", {"rules": only_create})
    operator = place.launch_operator()
    assert operator.wait_ended() == 1
    assert f'update leases of \\"coordination.k8s.io\\" in namespace {place.namespace}' in operator.log()


#: Every kind of child is asked for, and then none that can be done without.
EVERYTHING: Json = {
    "promotion": {"minReady": "0s"},
    "autoscaling": {"max": 3},
    "http": {"host": "loans.example.com", "ingressClassName": "nginx"},
    "networkPolicy": {},
    "monitoring": {},
}
LESS: Json = {
    "image": "registry.example/ccl-service:2",
    "replicas": 1,
    "sessions": {
        "redis": {"embedded": None, "urlFrom": {"secretKeyRef": {"name": "redis", "key": "url"}}},
    },
    "http": dict.fromkeys(("host", "ingressClassName")),
    **dict.fromkeys(("autoscaling", "networkPolicy", "monitoring", "backup")),
}


def test_every_verb_of_the_table_is_used_in_a_life(place: Place) -> None:
    install(place.api)
    _leave_old_revisions(place, place.create(**EVERYTHING), HISTORY + 1)
    operator = place.start_operator()
    place.promote()
    wanted = {(verb, one.resource.plural) for one in rbac.PERMISSIONS for verb in one.verbs}
    url = base64.b64encode(b"redis://:0ther-Passw0rd@redis.example.com/0").decode()
    place.api.create(names.SECRET, place.namespace, {"metadata": {"name": "redis"}, "data": {"url": url}})
    until("every kind is there", lambda: _is_everything_there(place), timeout=60)
    place.api.patch(names.OWNER, place.namespace, "ccl", {"spec": LESS})

    def all_used() -> bool:
        place.hand.step()
        wanted.difference_update(_used(operator))
        return not wanted

    until("every verb is used", all_used, timeout=90)


def _is_everything_there(place: Place) -> bool:
    place.hand.step()
    written = [resource for resource in names.CHILDREN if resource not in names.READ_ONLY]
    return all(place.api.list(resource, place.namespace) for resource in written)


def _leave_old_revisions(place: Place, owner: Json, number: int) -> None:
    """More than are kept, so that some go."""
    owners = [owner_reference(Target.of(owner))]
    for each in range(number):
        labels = names.labels("ccl", revision=f"old-{each}")
        metadata = {"name": f"ccl-old-{each}", "labels": labels, "ownerReferences": owners}
        place.api.create(
            names.CONTROLLER_REVISION, place.namespace, {"metadata": metadata, "revision": each, "data": {}}
        )


def _used(operator: OperatorProcess) -> set[tuple[str, str]]:
    """Verb and kind of every request that was allowed (404 too); one that made something counts as create too."""
    found = set()
    pattern = r'^ccl_operator_api_requests_total{code="(2..|404)",resource="(.*)",verb="(.*)"}'
    for code, resource, verb in re.findall(pattern, operator.page("/metrics"), re.MULTILINE):
        found |= {(verb, resource)} | ({("create", resource)} if code == "201" else set())
    # kopf watches our own kind with a client of its own.
    return found | {("watch", names.OWNER.plural)}


#: What only work meets; the lack of ``list`` and ``watch`` ends the start.
MET_AT_WORK = [
    (verb, one.resource)
    for one in rbac.PERMISSIONS
    for verb in one.verbs
    if one.resource in names.CHILDREN and verb not in rbac.WATCHED
]


@pytest.fixture(scope="module")
def one_of_each(api: KubernetesApi) -> dict[Resource, Json]:
    """A manifest of every kind of child, as a first promotion makes them."""
    install(api)
    spec = {**CHILD_SPEC, **EVERYTHING, "http": {**CHILD_SPEC["http"], **EVERYTHING["http"]}}
    cluster, found = SimulatedCluster(spec=spec, served_kinds=frozenset(names.OPTIONAL)), {}
    for _ in range(30):
        found |= {each.resource: dict(each.manifest) for each in cluster.reconcile().applies}
        cluster.controllers()
    assert found.keys() == set(names.CHILDREN) - set(names.READ_ONLY)
    return found


@pytest.mark.parametrize(
    ("verb", "resource"), MET_AT_WORK, ids=[f"{verb} {resource.plural}" for verb, resource in MET_AT_WORK]
)
async def test_a_permission_that_is_not_there_is_named_by_the_write_that_needs_it(
    place: Place, one_of_each: dict[Resource, Json], verb: str, resource: Resource
) -> None:
    _set_rules(place, _without(resource.plural, verb))
    until("the role is in force", lambda: not _may(place, verb, resource) and _may(place, "list", resource))
    lacking = await _forbidden_in_a_life(place, resource, one_of_each[resource])
    assert f'cannot {verb} resource "{resource.plural}"' in lacking.get(resource, "nothing is forbidden")


def _may(place: Place, verb: str, resource: Resource, subresource: str = "") -> bool:
    """Whether the operator may do that here, as the API server sees it."""
    operator = KubernetesApi(place.server.url, place.server.ca, place.server.token_for(OPERATOR.name))
    asked = {"group": resource.group, "resource": resource.plural, "verb": verb, "namespace": place.namespace}
    asked |= {"subresource": subresource} if subresource else {}
    review = operator.create(rbac.SELF_ACCESS_REVIEW, None, {"spec": {"resourceAttributes": asked}})
    return bool(review["status"].get("allowed"))


async def _forbidden_in_a_life(place: Place, resource: Resource, manifest: Json) -> dict[Resource, str]:
    """Make an object, and delete it; what was forbidden on the way."""
    placed = {**manifest, "metadata": {**manifest["metadata"], "namespace": place.namespace}}
    apply, key = Apply(resource, placed), Key(place.namespace, "ccl")
    owner = {"metadata": {"namespace": place.namespace, "name": "ccl", "uid": "owner-1"}}
    async with _client(place) as client:
        cache = Cache()
        writer = Writer(client, cache)
        taken = await writer.taken(key, owner, [apply])
        written = await writer.write(key, [] if taken.barred else [apply], [])
        made = cache.child(resource, place.namespace, placed["metadata"]["name"])
        if made is not None:
            metadata = made["metadata"]
            doomed = Delete(resource, metadata["name"], metadata["uid"], metadata["resourceVersion"])
            written.forbidden |= (await writer.write(key, [], [doomed])).forbidden
        return taken.forbidden | written.forbidden


async def test_without_the_permission_to_write_the_status_the_refusal_names_it(place: Place) -> None:
    _set_rules(place, _without(f"{names.OWNER.plural}/status", "patch"))
    until("the role is in force", lambda: not _may(place, "patch", names.OWNER, "status"))
    owner = place.create()
    async with _client(place) as client:
        with pytest.raises(Forbidden, match='cannot patch resource "ccldeployments/status"'):
            await Writer(client, Cache()).write_status(owner, {"phase": "Pending"})


def test_without_the_permission_to_post_events_work_goes_on_and_it_is_counted(place: Place) -> None:
    _set_rules(place, _without("events", "create"))
    operator = place.start_operator()
    assert "create events" in operator.log()
    place.create()
    until("an event was refused", lambda: operator.metric('ccl_operator_forbidden_total{resource="events"}') >= 1)
    until("children are made", lambda: place.api.find(names.SERVICE, place.namespace, "ccl"))


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


def test_a_quota_that_is_used_up_is_told_in_its_own_words_and_is_no_missing_permission(place: Place) -> None:
    hard = {"services": "0"}
    quota = place.api.create(QUOTA, place.namespace, {"metadata": {"name": "few"}, "spec": {"hard": hard}})
    # No controller counts here.
    name = quota["metadata"]["name"]
    place.api.patch(QUOTA, place.namespace, name, {"status": {"hard": hard, "used": hard}}, "status")
    operator = place.start_operator()
    place.create()
    until("the object is stalled", lambda: place.condition("Stalled").get("reason") == "ApplyRefused")
    message = place.condition("Stalled")["message"]
    assert "Service ccl: " in message
    assert "exceeded quota: few" in message
    assert operator.metric('ccl_operator_forbidden_total{resource="services"}') == 0
    place.api.delete(QUOTA, place.namespace, name)
    place.promote()


def test_in_a_namespace_that_is_being_deleted_nothing_is_made_again_and_nothing_is_complained_of(place: Place) -> None:
    operator = place.start_operator()
    place.create()
    until("there is something to delete", lambda: place.api.find(names.SERVICE, place.namespace, "ccl"))
    until("it is seen", lambda: place.condition("Reconciling").get("reason") == "Preparing")
    gone = 'ccl_operator_reconcile_seconds_count{outcome="gone"}'
    before = operator.metric(gone)
    place.api.call("DELETE", path(NAMESPACE, None, place.namespace))
    place.api.delete(names.SERVICE, place.namespace, "ccl")
    until("the operator lets it be", lambda: operator.metric(gone) > before)
    assert place.condition("Stalled").get("status") == "False"
    assert operator.metric('ccl_operator_forbidden_total{resource="services"}') == 0
