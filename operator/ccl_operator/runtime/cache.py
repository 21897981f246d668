"""All that the operator knows, in one place. ``observe`` reads it as ``observe.CacheReader``; only ``runtime`` writes.

Objects are in one ``Store`` per kind. Beside them stand what the last pass found (foreign names, missing permissions)
and the last gate answers. Losing all of it costs nothing: it is built anew from the API server.
"""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from types import MappingProxyType

from ccl_operator import names
from ccl_operator.actions import Key, Manifest, Resource
from ccl_operator.observe import Probe
from ccl_operator.runtime.store import Place, Store, itself, place

Name = tuple[Resource, str]


class Cache:
    """Not thread-safe; used from one event loop."""

    def __init__(self) -> None:
        self._owners = Store(whose=itself)
        self._children = {resource: Store() for resource in names.CHILDREN}
        self._referenced: dict[tuple[str, str], Manifest | None] = {}
        self._foreign: dict[Key, frozenset[Name]] = {}
        self._forbidden: dict[Key, Mapping[Resource, str]] = {}
        self._refused: dict[Key, Mapping[Name, str]] = {}
        self._probes: dict[Key, Mapping[str, Probe]] = {}
        self._served: frozenset[Resource] = frozenset()

    # What observe reads.

    def owner(self, key: Key) -> Manifest | None:
        """The CclDeployment itself."""
        return self._owners.get(key.namespace, key.name)

    def children(self, resource: Resource, key: Key) -> Sequence[Manifest]:
        """Objects of a kind in the key's namespace that carry our labels with its instance."""
        return self._children[resource].of_instance(key)

    def referenced(self, namespace: str, names: Sequence[str]) -> Mapping[str, Manifest | None]:
        """Secrets as last read; a name never read is absent, a Secret that does not exist is None."""
        return {name: self._referenced[namespace, name] for name in names if (namespace, name) in self._referenced}

    def foreign(self, key: Key) -> frozenset[Name]:
        """Names that the last pass found taken by objects that are not ours."""
        return self._foreign.get(key, frozenset())

    def forbidden(self, key: Key) -> Mapping[Resource, str]:
        """Permissions that the last pass lacked."""
        return self._forbidden.get(key, MappingProxyType({}))

    def refused(self, key: Key) -> Mapping[Name, str]:
        """Children that the API server did not take in the last pass, and why."""
        return self._refused.get(key, MappingProxyType({}))

    def served(self) -> frozenset[Resource]:
        """Which of the optional kinds the API server serves."""
        return self._served

    def probes(self, key: Key) -> Mapping[str, Probe]:
        """Last gate answers by pod UID."""
        return self._probes.get(key, MappingProxyType({}))

    # What the rest of runtime reads and writes.

    def owners(self) -> Iterator[Manifest]:
        """Every CclDeployment itself, in no order, one at a time. Nothing may be put or removed meanwhile."""
        return (owner for where in self._owners.places() if (owner := self._owners.get(*where)) is not None)

    def owner_keys(self) -> tuple[Key, ...]:
        """Every CclDeployment, in no order."""
        return tuple(Key(*where) for where in self._owners.places())

    def child(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """One child by name."""
        return self._children[resource].get(namespace, name)

    def put_owner(self, manifest: Manifest) -> bool:
        """Take in a CclDeployment. False when it was known or is old."""
        return bool(self._owners.put(manifest))

    def remove_owner(self, manifest: Manifest) -> None:
        """Forget a CclDeployment, if it is the one that is known, with all that was found out about it."""
        self._owners.remove(manifest)
        self._forget_if_gone(Key(*place(manifest)))

    def retain_owners(self, found: Set[Place], listed_at: int, namespace: str | None) -> set[Key]:
        """Forget what a listing did not hold. Returns the keys that went."""
        gone = self._owners.retain(found, listed_at, namespace)
        for key in gone:
            self._forget_if_gone(key)
        return gone

    def put_child(self, resource: Resource, manifest: Manifest) -> set[Key]:
        """Take in a child. Returns the keys for which something changed."""
        return self._children[resource].put(manifest)

    def remove_child(self, resource: Resource, manifest: Manifest) -> set[Key]:
        """Forget a deleted child. Returns the keys for which something changed."""
        return self._children[resource].remove(manifest)

    def retain_children(self, resource: Resource, found: Set[Place], listed_at: int, namespace: str | None) -> set[Key]:
        """Forget what a listing of a kind did not hold. Returns the keys for which something changed."""
        return self._children[resource].retain(found, listed_at, namespace)

    def put_referenced(self, namespace: str, name: str, manifest: Manifest | None) -> None:
        """Remember a referenced Secret as just read; None: it does not exist."""
        self._referenced[namespace, name] = manifest

    def retain_referenced(self, wanted: frozenset[tuple[str, str]]) -> None:
        """Forget every referenced Secret that is not among ``wanted`` (namespace, name)."""
        self._referenced = {where: found for where, found in self._referenced.items() if where in wanted}

    def set_foreign(self, key: Key, found: frozenset[Name]) -> bool:
        """Replace what is known to be taken. True when that is a change."""
        changed = found != self.foreign(key)
        if found:
            self._foreign[key] = found
        else:
            self._foreign.pop(key, None)
        return changed

    def set_served(self, resource: Resource, *, served: bool) -> bool:
        """Remember whether an optional kind is there. True when that is a change."""
        after = self._served | {resource} if served else self._served - {resource}
        changed, self._served = after != self._served, after
        return changed

    def set_forbidden(self, key: Key, found: Mapping[Resource, str]) -> bool:
        """Replace what is known to be forbidden. True when that is a change."""
        changed = dict(found) != dict(self.forbidden(key))
        if found:
            self._forbidden[key] = MappingProxyType(dict(found))
        else:
            self._forbidden.pop(key, None)
        return changed

    def set_refused(self, key: Key, found: Mapping[Name, str]) -> bool:
        """Replace what is known to be refused. True when that is a change."""
        changed = dict(found) != dict(self.refused(key))
        if found:
            self._refused[key] = MappingProxyType(dict(found))
        else:
            self._refused.pop(key, None)
        return changed

    def put_probe(self, key: Key, pod_uid: str, probe: Probe) -> bool:
        """Remember a gate answer. True when it says something else than the last one."""
        before = self.probes(key).get(pod_uid)
        if before is not None and probe.report is None:
            probe = replace(probe, silent_since=before.quiet_since)
        self._probes[key] = MappingProxyType({**self.probes(key), pod_uid: probe})
        return before is None or (before.report, before.error) != (probe.report, probe.error)

    def retain_probes(self, key: Key, pod_uids: frozenset[str]) -> None:
        """Forget the answers of all other pods."""
        kept = {uid: probe for uid, probe in self.probes(key).items() if uid in pod_uids}
        if kept:
            self._probes[key] = MappingProxyType(kept)
        else:
            self._probes.pop(key, None)

    def _forget_if_gone(self, key: Key) -> None:
        if (key.namespace, key.name) not in self._owners.places():
            for known in (self._foreign, self._forbidden, self._refused, self._probes):
                known.pop(key, None)
