"""Objects of one kind as last heard of, from whichever source was newer: list, watch, or the answer to our own write.

Rules: an older resourceVersion never replaces a newer one; what was deleted comes back under the same UID only with a
newer one; a deletion counts for the UID it names only. resourceVersions of one kind are compared as numbers (KEP-5504
makes that part of the API; every released API server on etcd behaves so).

At rest an object is packed: as a tree it takes fifteen times the room, and most are not looked at for hours.
"""

import marshal
import sys
import weakref
import zlib
from collections import OrderedDict
from collections.abc import Callable, Set
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


def itself(manifest: Manifest) -> Key:
    """A CclDeployment is its own."""
    return Key(*place(manifest))


def instance_of(manifest: Manifest) -> Key | None:
    """The CclDeployment that the labels name, if any."""
    labels = manifest["metadata"].get("labels") or {}
    instance = labels.get(names.INSTANCE_LABEL)
    return Key(manifest["metadata"]["namespace"], instance) if instance else None


def without_foreign_fields(manifest: Manifest) -> dict[str, Any]:
    """The object with only our own entry of managedFields: the others' are large and nobody here reads them."""
    metadata = manifest["metadata"]
    ours = [entry for entry in metadata.get("managedFields") or () if is_our_apply(entry)]
    return {**manifest, "metadata": {**metadata, "managedFields": ours}}


class _Tree(dict[str, Any]):
    """An object as it was unpacked. A plain dict cannot be referred to weakly."""

    __slots__ = ("__weakref__",)


class _AtRest:
    """One object, packed, and beside it what the store compares."""

    __slots__ = ("_packed", "_tree", "key", "place", "uid", "version")

    def __init__(self, manifest: Manifest, key: Key | None) -> None:
        namespace, name = place(manifest)
        self.place, self.key = (sys.intern(namespace), name), key
        self.uid, self.version = str(manifest["metadata"]["uid"]), resource_version(manifest)
        # Never leaves this process, so that the fastest of formats will do, although it is Python's own.
        self._packed = zlib.compress(marshal.dumps(without_foreign_fields(manifest)), 1)
        self._tree: weakref.ref[_Tree] | None = None

    def manifest(self) -> Manifest:
        """The same tree for all who ask while anybody holds it: one pass unpacks an object once."""
        known = self._tree() if self._tree is not None else None
        if known is not None:
            return known
        found = _Tree(marshal.loads(zlib.decompress(self._packed)))  # noqa: S302 - packed by ourselves
        self._tree = weakref.ref(found)
        return found


class Store:
    """Not thread-safe; used from one event loop. ``whose``: the CclDeployment that an object concerns, if any."""

    def __init__(self, whose: Callable[[Manifest], Key | None] = instance_of) -> None:
        self._whose = whose
        self._objects: dict[Place, _AtRest] = {}
        self._concerned: dict[Key, dict[Place, _AtRest]] = {}
        self._deleted: OrderedDict[str, int] = OrderedDict()

    def get(self, namespace: str, name: str) -> Manifest | None:
        """The object, if there is one."""
        found = self._objects.get((namespace, name))
        return None if found is None else found.manifest()

    def of_instance(self, key: Key) -> tuple[Manifest, ...]:
        """All objects that concern this CclDeployment, in no order."""
        return tuple(each.manifest() for each in self._concerned.get(key, {}).values())

    def places(self) -> Set[Place]:
        """Where there are objects."""
        return self._objects.keys()

    def put(self, manifest: Manifest) -> set[Key]:
        """Take an object in. Returns the CclDeployments for which something changed; empty when it was known or old."""
        known = self._objects.get(place(manifest))
        if resource_version(manifest) <= self._deleted.get(manifest["metadata"]["uid"], -1):
            return set()
        if known is not None and known.version >= resource_version(manifest):
            return set()
        touched = self._drop(known) if known is not None else set()
        kept = _AtRest(manifest, self._whose(manifest))
        self._objects[kept.place] = kept
        if kept.key is not None:
            self._concerned.setdefault(kept.key, {})[kept.place] = kept
            touched.add(kept.key)
        return touched

    def remove(self, manifest: Manifest) -> set[Key]:
        """Forget an object that was deleted, if it is the one that is known. Returns as ``put``.

        Also right for one that no longer matches our selector: with a newer resourceVersion it may come back.
        """
        uid = manifest["metadata"]["uid"]
        self._remember_deleted(uid, resource_version(manifest))
        known = self._objects.get(place(manifest))
        return self._drop(known) if known is not None and known.uid == uid else set()

    def retain(self, found: Set[Place], listed_at: int, namespace: str | None) -> set[Key]:
        """Forget what a listing of ``namespace`` (None: all), made at resourceVersion ``listed_at``, did not hold.

        What is newer than the listing stays. Returns as ``put``.
        """
        gone = [
            known
            for where, known in self._objects.items()
            if namespace in (None, where[0]) and where not in found and known.version <= listed_at
        ]
        touched: set[Key] = set()
        for known in gone:
            self._remember_deleted(known.uid, known.version)
            touched |= self._drop(known)
        return touched

    def _remember_deleted(self, uid: str, version: int) -> None:
        self._deleted[uid] = version
        while len(self._deleted) > REMEMBERED:
            self._deleted.popitem(last=False)

    def _drop(self, known: _AtRest) -> set[Key]:
        del self._objects[known.place]
        if known.key is None:
            return set()
        concerned = self._concerned[known.key]
        del concerned[known.place]
        if not concerned:
            del self._concerned[known.key]
        return {known.key}
