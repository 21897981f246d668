"""Reads the Secrets that specs name: by name every five minutes, at once when the spec changed or a watch says so.

Not a reflector: only Secrets that somebody names are read, so thousands of others in the cluster cost nothing.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from weakref import WeakValueDictionary

from ccl_operator import names
from ccl_operator.actions import Key, Manifest
from ccl_operator.api.references import secret_names
from ccl_operator.runtime.cache import Cache
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.errors import NotFound

READ_EVERY: Final = 300.0
#: A Secret that is not there yet is probably about to be made: somebody waits for it.
READ_MISSING_EVERY: Final = 15.0


@dataclass(frozen=True)
class _Read:
    at: float
    found: bool

    @property
    def good_until(self) -> float:
        return self.at + (READ_EVERY if self.found else READ_MISSING_EVERY)


class References:
    """Fills the cache's referenced Secrets. ``clock`` is monotonic, in seconds."""

    def __init__(self, client: Client, cache: Cache, clock: Callable[[], float]) -> None:
        self._client, self._cache, self._clock = client, cache, clock
        self._read: dict[tuple[str, str], _Read] = {}
        #: One read of a Secret after the other: an older answer can never come after a newer one.
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()
        #: Counts the changes that watches saw, so that a read knows of one that came while it waited.
        self._changes: dict[tuple[str, str], int] = {}
        self._named: dict[Key, tuple[str, ...]] = {}
        self._generation: dict[Key, int] = {}

    async def refresh(self, key: Key, owner: Manifest) -> None:
        """Read those of the owner's Secrets that are due. Raises Forbidden, TryLater."""
        generation = int(owner["metadata"].get("generation") or 0)
        spec_changed = self._generation.get(key, generation) != generation
        self._named[key] = tuple(secret_names(owner))
        for name in self._named[key]:
            if spec_changed or self._is_due(key.namespace, name):
                await self._get(key.namespace, name, even_if_good=spec_changed)
        self._generation[key] = generation

    def due_at(self, key: Key, owner: Manifest) -> float | None:
        """When the next of the owner's Secrets has to be read; None when it names none."""
        reads = [self._read.get((key.namespace, name)) for name in secret_names(owner)]
        return min((self._clock() if read is None else read.good_until for read in reads), default=None)

    def expire(self, namespace: str, name: str) -> tuple[Key, ...]:
        """A watch saw this Secret change: it is due. Returns who named it when last looked at."""
        self._read.pop((namespace, name), None)
        keys = tuple(key for key, named in self._named.items() if key.namespace == namespace and name in named)
        if keys:
            self._changes[namespace, name] = self._changes.get((namespace, name), 0) + 1
        return keys

    def forget_unused(self) -> None:
        """Drop what no CclDeployment names any more."""
        wanted = frozenset(
            (key.namespace, name)
            for key in self._cache.owner_keys()
            for name in secret_names(self._cache.owner(key) or {})
        )
        self._cache.retain_referenced(wanted)
        self._read = {where: read for where, read in self._read.items() if where in wanted}
        self._changes = {where: count for where, count in self._changes.items() if where in wanted}
        present = set(self._cache.owner_keys())
        self._named = {key: value for key, value in self._named.items() if key in present}
        self._generation = {key: value for key, value in self._generation.items() if key in present}

    def _is_due(self, namespace: str, name: str) -> bool:
        read = self._read.get((namespace, name))
        return read is None or read.good_until <= self._clock()

    async def _get(self, namespace: str, name: str, *, even_if_good: bool) -> None:
        where = (namespace, name)
        async with self._turns.setdefault(where, asyncio.Lock()):
            if not even_if_good and not self._is_due(namespace, name):
                return  # Another worker has read it meanwhile.
            changes = self._changes.get(where)
            try:
                found: Manifest | None = await self._client.get(names.SECRET, namespace, name)
            except NotFound:
                found = None
            self._cache.put_referenced(namespace, name, found)
            # The answer may be older than a change that was seen meanwhile: then the Secret stays due.
            if self._changes.get(where) == changes:
                self._read[where] = _Read(self._clock(), found is not None)
