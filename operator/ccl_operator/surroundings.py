"""What stands around the revisions: identity, upkeep, autoscaler, Ingresses, policies, monitoring. Pure.

None of it belongs to a revision. What is not asked for any more is recognised by its kind: of these kinds nothing else
is ours.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from ccl_operator import copies, inventory, names
from ccl_operator.actions import Apply, Manifest, Resource
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import ingress, monitoring, policies, scaling, upkeep
from ccl_operator.rollout import State
from ccl_operator.wanted import Wanted

_PRUNED: Final[tuple[Resource, ...]] = (
    names.AUTOSCALER,
    names.INGRESS,
    names.NETWORK_POLICY,
    names.POD_MONITOR,
    names.PROMETHEUS_RULE,
)


def identity(wanted: Wanted, found: Inventory, stable: str | None) -> Iterator[Apply]:
    """What pods name and what has to be there before them."""
    target, spec = wanted.target, wanted.spec
    yield Apply(names.SERVICE_ACCOUNT, upkeep.service_account(target, spec.service_account))
    holder = stable or (wanted.goal.name if wanted.goal is not None else None)
    copy = wanted.copies.get(holder or "")
    present = found.get(names.SECRET, names.direct(target.instance)) is not None
    # While the database's address is refused or unread, nobody knows whether a newer password was in force.
    if copy is not None and ("DATABASE_URL" in wanted.today or not present):
        values = {"DATABASE_URL": copies.latest_direct_url(copy, wanted.today)}
        jwt = {"JWT_SECRET": copy["JWT_SECRET"]} if "JWT_SECRET" in copy else {}
        yield Apply(names.SECRET, upkeep.secret(target, values | jwt))


def applies(wanted: Wanted, state: State) -> Iterator[Apply]:
    """What follows from the revisions in use and from the specification."""
    target, spec = wanted.target, wanted.spec
    stable = wanted.revisions.get(state.stable.revision) if state.stable is not None else None
    if stable is not None:
        generated = "JWT_SECRET_FILE" in stable.env
        job = upkeep.cron_job(target, image=stable.image, jwt_generated=generated, placed=spec.jobs.template)
        yield Apply(names.CRON_JOB, job)
    if state.stable is not None and spec.autoscaling is not None:
        yield Apply(names.AUTOSCALER, scaling.autoscaler(target, spec.autoscaling))
    for built in ingress.ingresses(target, spec.http):
        yield Apply(names.INGRESS, built)
    yield from _policies(wanted, state)
    if spec.monitoring is not None:
        if spec.monitoring.service_monitor and names.POD_MONITOR in wanted.served:
            yield Apply(names.POD_MONITOR, monitoring.monitor(target, spec.monitoring.labels))
            if spec.database.pooled is not None:
                yield Apply(names.POD_MONITOR, monitoring.pooler_monitor(target, spec.monitoring.labels))
        if spec.monitoring.rules and names.PROMETHEUS_RULE in wanted.served:
            yield Apply(names.PROMETHEUS_RULE, monitoring.rules(target, wanted.runbooks_url, spec.monitoring.labels))


def _policies(wanted: Wanted, state: State) -> Iterator[Apply]:
    """Open for every revision whose pods may run: neither may a new one shut an old one off, nor wait for its end."""
    asked = wanted.spec.network_policy
    environments = _environments(wanted, state)
    if asked is None or not asked.enabled or environments is None:
        return
    outside = policies.Outside.of(wanted.target, environments)
    for built in policies.policies(wanted.target, asked, outside, operator_namespace=wanted.operator_namespace):
        yield Apply(names.NETWORK_POLICY, built)


def _environments(wanted: Wanted, state: State) -> list[Mapping[str, str]] | None:
    """What all pods get as variables; None while not all of it is known."""
    goal = (wanted.goal.name,) if wanted.goal is not None else ()
    in_use = dict.fromkeys((*state.in_use, *goal))
    if not in_use or not in_use.keys() <= wanted.revisions.keys() & wanted.copies.keys():
        return None
    return [
        {**wanted.copies[name], **wanted.revisions[name].variables(component)}
        for name in in_use
        for component in (names.WEB, names.JOBS)
    ]


def superfluous(wanted: Wanted, found: Inventory, state: State) -> list[tuple[Resource, Manifest]]:
    """What is there and no longer asked for. Policies stay while it is not known which ports they have to open."""
    kept = {(each.resource, inventory.name_of(each.manifest)) for each in applies(wanted, state)}
    asked = wanted.spec.network_policy
    unknown = asked is not None and asked.enabled and _environments(wanted, state) is None
    return [
        (resource, manifest)
        for resource in _PRUNED
        for manifest in found.all(resource)
        if not (unknown and resource == names.NETWORK_POLICY) and (resource, inventory.name_of(manifest)) not in kept
    ]
