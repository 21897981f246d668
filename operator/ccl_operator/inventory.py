"""The children of one CclDeployment as far as they are its own, and small readings of Kubernetes objects. Pure.

An object with our labels that belongs to another UID is what remains of a deleted CclDeployment of the same name: it
is not ours, garbage collection takes it, and its name has to be waited for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ccl_operator import names
from ccl_operator.actions import Manifest, Resource
from ccl_operator.observe import Observed


@dataclass(frozen=True)
class Inventory:
    """``remains``: names still held by objects of an earlier CclDeployment."""

    children: Mapping[Resource, tuple[Manifest, ...]]
    remains: frozenset[tuple[Resource, str]]

    @classmethod
    def of(cls, observed: Observed) -> "Inventory":
        """Sort the observed objects into ours and remains."""
        uid = observed.owner["metadata"]["uid"]
        children: dict[Resource, tuple[Manifest, ...]] = {}
        remains: set[tuple[Resource, str]] = set()
        for resource, manifests in observed.children.items():
            children[resource] = tuple(each for each in manifests if not _of_another(each, uid))
            remains |= {(resource, name_of(each)) for each in manifests if _of_another(each, uid)}
        return cls(children=children, remains=frozenset(remains))

    def all(self, resource: Resource, *, component: str | None = None) -> tuple[Manifest, ...]:
        """Objects of a kind, sorted by name."""
        found = self.children.get(resource, ())
        if component is None:
            return found
        return tuple(each for each in found if label(each, names.COMPONENT_LABEL) == component)

    def get(self, resource: Resource, name: str) -> Manifest | None:
        """The object of this name; None when there is none."""
        return next((each for each in self.all(resource) if name_of(each) == name), None)

    def pods(self, component: str, revision: str | None = None) -> tuple[Manifest, ...]:
        """Pods of a component, and of a revision when one is given, terminating ones too."""
        found = self.all(names.POD, component=component)
        return tuple(pod for pod in found if revision is None or label(pod, names.REVISION_LABEL) == revision)


def _of_another(manifest: Manifest, uid: str) -> bool:
    references = manifest["metadata"].get("ownerReferences") or ()
    return any(each["kind"] == names.OWNER.kind and each["uid"] != uid for each in references)


def name_of(manifest: Manifest) -> str:
    """metadata.name"""
    return str(manifest["metadata"]["name"])


def label(manifest: Manifest, key: str) -> str | None:
    """The value of a label; None when it is not set."""
    value = (manifest["metadata"].get("labels") or {}).get(key)
    return None if value is None else str(value)


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 time as Kubernetes writes it."""
    return None if not text else datetime.fromisoformat(text)


def condition(manifest: Manifest, kind: str) -> Mapping[str, Any] | None:
    """The condition of this type in ``status.conditions``."""
    found: list[Mapping[str, Any]] = (manifest.get("status") or {}).get("conditions") or []
    return next((each for each in found if each["type"] == kind), None)


def is_true(manifest: Manifest, kind: str) -> bool:
    """Whether the condition of this type is True."""
    found = condition(manifest, kind)
    return found is not None and found["status"] == "True"


def terminating(manifest: Manifest) -> bool:
    """Whether the object is being deleted."""
    return bool(manifest["metadata"].get("deletionTimestamp"))


def ended(pod: Manifest) -> bool:
    """Whether no process of the pod runs any more."""
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def up_to_date(workload: Manifest) -> bool:
    """Whether the status of a Deployment or StatefulSet speaks of its present specification."""
    generation = int(workload["metadata"].get("generation", 0))
    return int((workload.get("status") or {}).get("observedGeneration", -1)) >= generation


def wanted_replicas(workload: Manifest | None) -> int:
    """spec.replicas, 1 by default; 0 when the workload is missing."""
    return 0 if workload is None else int(workload["spec"].get("replicas", 1))


def ready_replicas(workload: Manifest | None) -> int:
    """status.readyReplicas; 0 when the workload is missing or its status is of an older specification."""
    if workload is None or not up_to_date(workload):
        return 0
    return int((workload.get("status") or {}).get("readyReplicas", 0))


def created(manifest: Manifest) -> datetime:
    """metadata.creationTimestamp"""
    return datetime.fromisoformat(manifest["metadata"]["creationTimestamp"])


def owned_by(manifest: Manifest, uid: str) -> bool:
    """Whether an object belongs to the one of this UID."""
    return any(each["uid"] == uid for each in manifest["metadata"].get("ownerReferences") or ())


def is_running(pod: Manifest) -> bool:
    """Whether a process of the pod has begun and not ended."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (each.get("state") or {}) for each in statuses)


def termination_messages(pods: tuple[Manifest, ...], job_uid: str) -> tuple[str, ...]:
    """Termination messages of a Job's pods, the latest first."""
    found: list[tuple[str, str]] = []
    for pod in pods:
        if not owned_by(pod, job_uid):
            continue
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            ended_state = (container.get("state") or {}).get("terminated")
            if ended_state and ended_state.get("message"):
                found.append((ended_state.get("finishedAt") or "", ended_state["message"]))
    return tuple(message for _, message in sorted(found, reverse=True))
