"""What all children share: metadata with labels and owner reference. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ccl_operator import names
from ccl_operator.actions import Manifest, Resource


@dataclass(frozen=True)
class Target:
    """The CclDeployment that children are built for."""

    instance: str
    namespace: str
    uid: str
    #: Whether data and keys outlive the object.
    keep: bool = True
    #: Secrets with which images are pulled.
    pulls: tuple[str, ...] = ()

    @classmethod
    def of(cls, owner: Manifest) -> "Target":
        """From the object as the API server holds it."""
        metadata, spec = owner["metadata"], owner.get("spec") or {}
        return cls(
            instance=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            keep=spec.get("deletionPolicy") != "Delete",
            pulls=tuple(each["name"] for each in spec.get("imagePullSecrets") or ()),
        )


def child(
    resource: Resource,
    target: Target,
    name: str,
    body: Mapping[str, Any],
    *,
    component: str | None = None,
    revision: str | None = None,
    kept: bool = False,
) -> dict[str, Any]:
    """A child object. ``kept``: under the policy Retain without owner reference, so that it outlives the
    CclDeployment."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": target.namespace,
        "labels": names.labels(target.instance, component, revision),
    }
    if not (kept and target.keep):
        metadata["ownerReferences"] = [owner_reference(target)]
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **body}


def owner_reference(target: Target) -> dict[str, Any]:
    """Garbage collection by owner. ``blockOwnerDeletion`` stays unset: setting it takes a permission on finalizers."""
    return {
        "apiVersion": names.OWNER.api_version,
        "kind": names.OWNER.kind,
        "name": target.instance,
        "uid": target.uid,
        "controller": True,
    }


def encoded(values: Mapping[str, str]) -> dict[str, str]:
    """Secret data: base64 of UTF-8, sorted by key."""
    return {key: base64.b64encode(value.encode()).decode() for key, value in sorted(values.items())}
