"""Whether the watch of our own kind, which is kopf's, tells everything. Pure.

Kopf hides the signs of life that a quiet watch gets, so that silence alone means nothing. What is judged instead: news
that a listing brings are owed by the watch until it has told them, too, or something newer about the same name.
"""

from collections.abc import Callable, Mapping, Set

from ccl_operator.actions import Manifest
from ccl_operator.runtime.store import Place, place, resource_version


class Hearing:
    """``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._complete_at = clock, clock()
        self._owed: dict[Place, int] = {}

    def age(self) -> float:
        """Seconds since the watch was last known to owe nothing."""
        return self._clock() - self._complete_at

    def owed(self) -> Mapping[Place, int]:
        """Where there is something that the watch has not told, and its resourceVersion."""
        return dict(self._owed)

    def news(self, manifest: Manifest) -> None:
        """A listing holds an object, or a version of it, that was not known."""
        self._owed[place(manifest)] = resource_version(manifest)

    def told(self, manifest: Manifest) -> None:
        """The watch tells of an object, its end included."""
        where = place(manifest)
        if resource_version(manifest) >= self._owed.get(where, 0):
            self._owed.pop(where, None)
        self._note()

    def listed(self, places: Set[Place]) -> None:
        """A listing is complete. What has gone since will never be told: kopf's watch may have a gap there."""
        for where in self._owed.keys() - places:
            del self._owed[where]
        self._note()

    def _note(self) -> None:
        if not self._owed:
            self._complete_at = self._clock()
