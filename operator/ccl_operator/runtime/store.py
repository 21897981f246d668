"""Objects of one kind as last heard of, from whichever source was newer: list, watch, or the answer to our own write.

Rules: an older resourceVersion never replaces a newer one; what was deleted comes back under the same UID only with a
newer one; a deletion counts for the UID it names only. resourceVersions of one kind are compared as numbers (KEP-5504
makes that part of the API; every released API server on etcd behaves so).
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Key, Manifest
from ccl_operator.ownership import is_our_apply

#: How many deleted UIDs are remembered: enough for answers that are still on their way.
REMEMBERED: Final = 2_000

Place = tuple[str, str]


def resource_version(manifest: Manifest) -> int:
    """As a number; 0 for what has none."""
    return int(manifest["metadata"].get("resourceVersion") or 0)


def place(manifest: Manifest) -> Place:
    """Namespace and name."""
    metadata = manifest["metadata"]
    return metadata["namespace"], metadata["name"]


def instance_of(manifest: Manifest) -> Key | None:
    """The CclDeployment that the labels name, if any."""
    labels = manifest["metadata"].get("labels") or {}
    instance = labels.get(names.INSTANCE_LABEL)
    return Key(manifest["metadata"]["namespace"], instance) if instance else None


def without_foreign_fields(manifest: Manifest) -> Manifest:
    """The object with only our own entry of managedFields: the others' are large and nobody here reads them."""
    metadata = manifest["metadata"]
    ours = [entry for entry in metadata.get("managedFields") or () if is_our_apply(entry)]
    return {**manifest, "metadata": {**metadata, "managedFields": ours}}


class Store:
    """Not thread-safe; used from one event loop."""

    def __init__(self) -> None:
        self._objects: dict[Place, Manifest] = {}
        self._instances: dict[Key, dict[str, Manifest]] = {}
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def get(self, namespace: str, name: str) -> Manifest | None:
        """The object, if there is one."""
        return self._objects.get((namespace, name))

    def of_instance(self, key: Key) -> tuple[Manifest, ...]:
        """All objects whose labels name this CclDeployment, in no order."""
        return tuple(self._instances.get(key, {}).values())

    def all(self) -> tuple[Manifest, ...]:
        """Every object, in no order."""
        return tuple(self._objects.values())

    def put(self, manifest: Manifest) -> set[Key]:
        """Take an object in. Returns the CclDeployments for which something changed; empty when it was known or old."""
        known = self._objects.get(place(manifest))
        if resource_version(manifest) <= self._deleted.get(manifest["metadata"]["uid"], -1):
            return set()
        if known is not None and resource_version(known) >= resource_version(manifest):
            return set()
        touched = self._drop(known) if known is not None else set()
        kept = without_foreign_fields(manifest)
        self._objects[place(kept)] = kept
        instance = instance_of(kept)
        if instance is not None:
            self._instances.setdefault(instance, {})[place(kept)[1]] = kept
            touched.add(instance)
        return touched

    def remove(self, manifest: Manifest) -> set[Key]:
        """Forget an object that was deleted, if it is the one that is known. Returns as ``put``.

        Also right for one that no longer matches our selector: with a newer resourceVersion it may come back.
        """
        uid = manifest["metadata"]["uid"]
        self._deleted[uid] = resource_version(manifest)
        while len(self._deleted) > REMEMBERED:
            self._deleted.popitem(last=False)
        known = self._objects.get(place(manifest))
        if known is None or known["metadata"]["uid"] != uid:
            return set()
        return self._drop(known)

    def replace(self, items: Iterable[Mapping[str, Any]], listed_at: int, namespace: str | None) -> set[Key]:
        """Take in a whole listing of ``namespace`` (None: all), made at resourceVersion ``listed_at``.

        What is newer than the listing stays. Returns as ``put``.
        """
        found = {place(item): item for item in items}
        touched: set[Key] = set()
        for known in self.all():
            where = place(known)
            if namespace in (None, where[0]) and where not in found and resource_version(known) <= listed_at:
                touched |= self.remove(known)
        for item in found.values():
            touched |= self.put(item)
        return touched

    def _drop(self, known: Manifest) -> set[Key]:
        del self._objects[place(known)]
        instance = instance_of(known)
        if instance is None:
            return set()
        of_instance = self._instances[instance]
        del of_instance[place(known)[1]]
        if not of_instance:
            del self._instances[instance]
        return {instance}
