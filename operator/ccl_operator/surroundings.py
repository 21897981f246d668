"""What stands around the revisions: identity, upkeep, autoscaler, Ingresses, policies, monitoring. Pure.

None of it belongs to a revision. What is not asked for any more is recognised by its kind: of these kinds nothing else
is ours.
"""

from collections.abc import Iterator
from typing import Final

from ccl_operator import inventory, names
from ccl_operator.actions import Apply, Manifest, Resource
from ccl_operator.environment import generated_keys
from ccl_operator.inventory import Inventory
from ccl_operator.manifests import ingress, monitoring, policies, scaling, upkeep
from ccl_operator.wanted import Wanted

_PRUNED: Final[tuple[Resource, ...]] = (
    names.AUTOSCALER,
    names.INGRESS,
    names.NETWORK_POLICY,
    names.POD_MONITOR,
    names.PROMETHEUS_RULE,
)


def identity(wanted: Wanted) -> Iterator[Apply]:
    """What pods name and what has to be there before them."""
    yield Apply(names.SERVICE_ACCOUNT, upkeep.service_account(wanted.target, wanted.spec.service_account))
    if wanted.goal is not None:
        # Only then the values are known to be good; else the last good ones stay.
        values = {"DATABASE_URL": wanted.credentials.direct_url}
        jwt = wanted.credentials.external.get("JWT_SECRET")
        yield Apply(names.SECRET, upkeep.secret(wanted.target, {**values, **({"JWT_SECRET": jwt} if jwt else {})}))


def applies(wanted: Wanted, stable: str | None) -> Iterator[Apply]:
    """``stable``: the revision with the traffic, None before the first."""
    target, spec = wanted.target, wanted.spec
    if stable is not None and stable in wanted.revisions:
        generated = "JWT_SECRET" in generated_keys(spec)
        image = wanted.revisions[stable].image
        placed = spec.jobs.template
        yield Apply(names.CRON_JOB, upkeep.cron_job(target, image=image, jwt_generated=generated, placed=placed))
    if stable is not None and spec.autoscaling is not None:
        yield Apply(names.AUTOSCALER, scaling.autoscaler(target, spec.autoscaling))
    for built in ingress.ingresses(target, spec.http):
        yield Apply(names.INGRESS, built)
    yield from _policies(wanted)
    if spec.monitoring is not None:
        if spec.monitoring.service_monitor and names.POD_MONITOR in wanted.served:
            yield Apply(names.POD_MONITOR, monitoring.monitor(target))
            if spec.database.pooled is not None:
                yield Apply(names.POD_MONITOR, monitoring.pooler_monitor(target))
        if spec.monitoring.rules and names.PROMETHEUS_RULE in wanted.served:
            yield Apply(names.PROMETHEUS_RULE, monitoring.rules(target, wanted.runbooks_url))


def _policies(wanted: Wanted) -> Iterator[Apply]:
    asked = wanted.spec.network_policy
    if asked is None or not asked.enabled or wanted.goal is None:
        return
    outside = policies.Outside.of(wanted.spec, wanted.credentials.external)
    for built in policies.policies(
        wanted.target, wanted.spec, asked, outside, operator_namespace=wanted.operator_namespace
    ):
        yield Apply(names.NETWORK_POLICY, built)


def superfluous(wanted: Wanted, found: Inventory, stable: str | None) -> list[tuple[Resource, Manifest]]:
    """What is there and no longer asked for. Policies stay while it is not known which ports they have to open."""
    kept = {(each.resource, inventory.name_of(each.manifest)) for each in applies(wanted, stable)}
    asked = wanted.spec.network_policy
    uncertain = names.NETWORK_POLICY if asked is not None and asked.enabled and wanted.goal is None else None
    return [
        (resource, manifest)
        for resource in _PRUNED
        for manifest in found.all(resource)
        if resource != uncertain and (resource, inventory.name_of(manifest)) not in kept
    ]
