"""What a reflector's news mean: into the cache, and whose CclDeployment is to be looked at."""

from collections.abc import Callable, Set

from ccl_operator.actions import Key, Manifest, Resource
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.references import References
from ccl_operator.runtime.store import Place, place

Enqueue = Callable[[Key], None]


class ChildSink:
    """Children of one kind. An echo of our own write changes nothing, so it wakes nobody."""

    def __init__(self, cache: Cache, resource: Resource, enqueue: Enqueue) -> None:
        self._cache, self._resource, self._enqueue = cache, resource, enqueue

    def listed(self, found: Set[Place], listed_at: int, namespace: str | None) -> None:
        """The end of a listing."""
        self._wake(self._cache.retain_children(self._resource, found, listed_at, namespace))

    def changed(self, manifest: Manifest) -> None:
        """Added or modified."""
        self._wake(self._cache.put_child(self._resource, manifest))

    def deleted(self, manifest: Manifest) -> None:
        """Gone, or not ours any more."""
        self._wake(self._cache.remove_child(self._resource, manifest))

    def _wake(self, keys: set[Key]) -> None:
        for key in keys:
            self._enqueue(key)


class OptionalChildSink(ChildSink):
    """Children of a kind that the cluster may not have: its coming and going concerns every CclDeployment."""

    def listed(self, found: Set[Place], listed_at: int, namespace: str | None) -> None:
        """The end of a listing: the kind is there."""
        self._note(served=True)
        super().listed(found, listed_at, namespace)

    @property
    def resource(self) -> Resource:
        """The kind."""
        return self._resource

    def absent(self) -> None:
        """The API server does not know the kind."""
        self._note(served=False)

    def _note(self, *, served: bool) -> None:
        if self._cache.set_served(self._resource, served=served):
            self._wake(set(self._cache.owner_keys()))


class WatchedSecretSink:
    """Secrets that carry the watch label: only the hint counts, the content is read by name as always.

    So a Secret that loses the label is not taken for deleted, and one that nobody names costs nothing.
    """

    def __init__(self, references: References, enqueue: Enqueue) -> None:
        self._references, self._enqueue = references, enqueue
        self._versions: dict[Place, str] = {}

    def listed(self, found: Set[Place], listed_at: int, namespace: str | None) -> None:  # noqa: ARG002
        """The end of a listing: what it did not hold has gone meanwhile."""
        for where in [known for known in self._versions if namespace in (None, known[0]) and known not in found]:
            self._forget(where)

    def changed(self, manifest: Manifest) -> None:
        """Added, modified, or listed: then it may be as it was."""
        where, version = place(manifest), str(manifest["metadata"]["resourceVersion"])
        if self._versions.get(where) != version:
            self._versions[where] = version
            self._expire(where)

    def deleted(self, manifest: Manifest) -> None:
        """Gone, or without the label."""
        self._forget(place(manifest))

    def _forget(self, where: Place) -> None:
        self._versions.pop(where, None)
        self._expire(where)

    def _expire(self, where: Place) -> None:
        for key in self._references.expire(*where):
            self._enqueue(key)
