"""Which permissions the calls of ``runtime`` need: one table for ``ccl-operator rbac``, the chart, and the self-check.

Pure. The table stands beside ``client`` and ``reconcile``; a verb that is missing here fails tests/operator, which run
with exactly these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Manifest, Resource

EVENT: Final = Resource("events.k8s.io", "v1", "events", "Event")
SELF_ACCESS_REVIEW: Final = Resource(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"
)
LEASE: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")

WATCHED: Final = ("list", "watch")
#: A server-side apply that makes the object needs ``create`` as well as ``patch``.
WRITTEN: Final = ("create", "delete", "get", *WATCHED, "patch")
#: Data outlives the CclDeployment, and pods have an identity as long as there is one: no code path deletes these.
_KEPT: Final = (names.VOLUME_CLAIM, names.SERVICE_ACCOUNT)


@dataclass(frozen=True)
class Permission:
    """Verbs on a resource or, with ``subresource``, on that part of it."""

    resource: Resource
    verbs: tuple[str, ...]
    subresource: str | None = None

    @property
    def plural(self) -> str:
        """As a role spells it: ``ccldeployments/status``."""
        return f"{self.resource.plural}/{self.subresource}" if self.subresource else self.resource.plural


def _of_child(resource: Resource) -> Permission:
    if resource in names.READ_ONLY:
        return Permission(resource, WATCHED)
    if resource in _KEPT:
        return Permission(resource, tuple(verb for verb in WRITTEN if verb != "delete"))
    return Permission(resource, WRITTEN)


PERMISSIONS: Final[tuple[Permission, ...]] = (
    Permission(names.OWNER, WATCHED),
    Permission(names.OWNER, ("patch",), "status"),
    *(_of_child(resource) for resource in names.CHILDREN),
    Permission(EVENT, ("create",)),
)

#: On the operator's own Lease, in its own namespace; ``create`` cannot be narrowed to a name.
LEASE_CREATED: Final = Permission(LEASE, ("create",))
LEASE_KEPT: Final = Permission(LEASE, ("get", "update"))


def rules() -> list[dict[str, Any]]:
    """The rules of a Role or ClusterRole, one per resource."""
    return [_rule(one) for one in PERMISSIONS]


def lease_rules(name: str) -> list[dict[str, Any]]:
    """The rules of the Role in the operator's own namespace, for the Lease ``name``."""
    return [
        _rule(LEASE_CREATED),
        _rule(LEASE_KEPT) | {"resourceNames": [name]},
    ]


def _rule(one: Permission) -> dict[str, Any]:
    return {"apiGroups": [one.resource.group], "resources": [one.plural], "verbs": sorted(one.verbs)}


def manifests(namespaces: Sequence[str], *, name: str, service_account_namespace: str) -> list[Manifest]:
    """What binds the rules to the ServiceAccount ``name``: cluster-wide, or in ``namespaces`` when there are any.

    Beside it the Role for the Lease, which has the same name as the ServiceAccount.
    """
    subject = {"kind": "ServiceAccount", "name": name, "namespace": service_account_namespace}
    lease = {"name": f"{name}-lease", "namespace": service_account_namespace}
    found = [*_pair("Role", lease, lease_rules(name), subject)]
    if not namespaces:
        return [*found, *_pair("ClusterRole", {"name": name}, rules(), subject)]
    for namespace in namespaces:
        found += _pair("Role", {"name": name, "namespace": namespace}, rules(), subject)
    return found


def _pair(kind: str, metadata: Manifest, granted: list[dict[str, Any]], subject: Manifest) -> list[Manifest]:
    api = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{api}/v1", "kind": kind, "metadata": metadata, "rules": granted},
        {
            "apiVersion": f"{api}/v1",
            "kind": f"{kind}Binding",
            "metadata": metadata,
            "roleRef": {"apiGroup": api, "kind": kind, "name": metadata["name"]},
            "subjects": [subject],
        },
    ]
