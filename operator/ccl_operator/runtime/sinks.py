"""What a reflector's news mean: into the cache, and whose CclDeployment is to be looked at."""

from collections.abc import Callable

from ccl_operator.actions import Key, Manifest, Resource
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.references import References
from ccl_operator.runtime.store import place

Enqueue = Callable[[Key], None]


class ChildSink:
    """Children of one kind. An echo of our own write changes nothing, so it wakes nobody."""

    def __init__(self, cache: Cache, resource: Resource, enqueue: Enqueue) -> None:
        self._cache, self._resource, self._enqueue = cache, resource, enqueue

    def replaced(self, items: tuple[Manifest, ...], listed_at: int, namespace: str | None) -> None:
        """A listing."""
        self._wake(self._cache.replace_children(self._resource, items, listed_at, namespace))

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

    def replaced(self, items: tuple[Manifest, ...], listed_at: int, namespace: str | None) -> None:
        """A listing: the kind is there."""
        self._note(served=True)
        super().replaced(items, listed_at, namespace)

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
        self._listed: dict[tuple[str, str], str] = {}

    def replaced(self, items: tuple[Manifest, ...], listed_at: int, namespace: str | None) -> None:  # noqa: ARG002
        """A listing: what is not as it was in the last one has changed meanwhile."""
        found = {place(item): str(item["metadata"]["resourceVersion"]) for item in items}
        before = {where: seen for where, seen in self._listed.items() if namespace in (None, where[0])}
        for where in found.keys() | before.keys():
            if found.get(where) != before.get(where):
                self._expire(where)
        self._listed = {where: seen for where, seen in self._listed.items() if where not in before} | found

    def changed(self, manifest: Manifest) -> None:
        """Added or modified."""
        self._listed[place(manifest)] = str(manifest["metadata"]["resourceVersion"])
        self._expire(place(manifest))

    def deleted(self, manifest: Manifest) -> None:
        """Gone, or without the label."""
        self._listed.pop(place(manifest), None)
        self._expire(place(manifest))

    def _expire(self, where: tuple[str, str]) -> None:
        for key in self._references.expire(*where):
            self._enqueue(key)
