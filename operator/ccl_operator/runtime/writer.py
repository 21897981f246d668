"""Carries out one plan's writes: whose is the name, does it differ, apply or delete, and the answer into the cache.

No decision about what is wanted (``plan``) or about what comes next (``workers``).
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from ccl_operator import names
from ccl_operator.actions import Apply, Delete, Key, Manifest, Resource
from ccl_operator.runtime.cache import Cache, Name
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.drift import drift, plain
from ccl_operator.runtime.errors import Forbidden, NotFound, Refused, TryLater
from ccl_operator.runtime.repair import disown, repair

log = structlog.get_logger(__name__)


class WaitingForGarbageCollection(TryLater):
    """The name is still held by a child of a CclDeployment that is gone."""


@dataclass(frozen=True)
class Names:
    """Which of a plan's names must not be written now: held by strangers, or by ours that are being deleted."""

    foreign: frozenset[Name]
    leaving: frozenset[Name]


@dataclass
class Written:
    """What came of one plan's writes."""

    wrote: bool = False
    forbidden: dict[Resource, str] = field(default_factory=dict)
    refused: dict[Name, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Settled:
    """An apply that the API server took without arriving at our form: our form is not canonical."""

    wanted: str
    resource_version: str


class Writer:
    """One per process; keeps only what saves needless writes."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client, self._cache = client, cache
        self._settled: dict[tuple[Resource, str, str], _Settled] = {}

    async def taken(self, key: Key, owner: Manifest, applies: Iterable[Apply]) -> Names:
        """Look at who holds the names of ``applies`` before the first write; ours are taken into the cache.

        Server-side apply would take a stranger's object over without a word. Raises WaitingForGarbageCollection,
        TryLater; a kind that may not be read is left to the write's own 403.
        """
        foreign: set[Name] = set()
        leaving: set[Name] = set()
        for one in applies:
            name = one.manifest["metadata"]["name"]
            live = self._cache.child(one.resource, key.namespace, name)
            if live is None:
                live = await self._read(one.resource, key.namespace, name)
            if live is None:
                continue
            if not names.is_ours(live, key.name):
                foreign.add((one.resource, name))
                continue
            self._cache.put_child(one.resource, live)
            _refuse_predecessors(one.resource, live, owner)
            if live["metadata"].get("deletionTimestamp"):
                leaving.add((one.resource, name))
        return Names(frozenset(foreign), frozenset(leaving))

    async def write(self, key: Key, applies: Iterable[Apply], deletes: Iterable[Delete]) -> Written:
        """Apply what differs, in order, then delete. What is forbidden or refused is noted and does not stop the rest.

        Raises TryLater at the first action that may work later: those behind it may rely on it.
        """
        written = Written()
        actions: list[Apply | Delete] = [*applies, *deletes]
        for action in actions:
            try:
                if isinstance(action, Apply):
                    written.wrote |= await self._apply(key, action)
                else:
                    written.wrote |= await self._delete(key, action)
            except Forbidden as error:
                written.forbidden[action.resource] = error.message
            except Refused as error:
                name = action.manifest["metadata"]["name"] if isinstance(action, Apply) else action.name
                written.refused[action.resource, name] = error.message
        return written

    async def write_status(self, owner: Manifest, status: Manifest) -> bool:
        """Write the whole status, if it differs from the one the cache holds. Raises Forbidden, Refused, TryLater."""
        wanted = plain(status)
        if wanted == (owner.get("status") or {}):
            return False
        metadata = owner["metadata"]
        where = (names.OWNER, metadata["namespace"], metadata["name"])
        if self._settled.get(where) == _Settled(_digest(wanted), _digest(owner.get("status"))):
            return False
        manifest = {
            "apiVersion": names.OWNER.api_version,
            "kind": names.OWNER.kind,
            # With the UID a successor of the same name is refused: 409.
            "metadata": {"namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]},
            "status": wanted,
        }
        answer = await self._client.apply(names.OWNER, manifest, subresource="status")
        self._cache.put_owner(answer)
        if answer.get("status") != wanted:
            # An older CRD drops fields it does not know. Writing them again and again would not help.
            self._settled[where] = _Settled(_digest(wanted), _digest(answer.get("status")))
            log.warning("status is not kept as written", action="status.unsettled", name=metadata["name"])
        return True

    async def _read(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        try:
            return await self._client.get(resource, namespace, name)
        except (NotFound, Forbidden):
            return None

    async def _apply(self, key: Key, action: Apply) -> bool:
        name = action.manifest["metadata"]["name"]
        live = self._cache.child(action.resource, key.namespace, name)
        reasons: tuple[str, ...] = ("it does not exist",)
        if live is not None:
            if action.once or _never_changes(action.resource, live):
                return False
            reasons = drift(action.manifest, live)
            if not reasons or self._is_settled(action, live):
                return False
        log.info(
            "applying",
            action="child.apply",
            namespace=key.namespace,
            kind=action.resource.kind,
            name=name,
            because=reasons[:10],
        )
        answer = await self._applied(action, live)
        self._cache.put_child(action.resource, answer)
        self._note_settled(action, answer)
        # The API server does not count an apply that changes nothing: same resourceVersion.
        return live is None or answer["metadata"]["resourceVersion"] != live["metadata"]["resourceVersion"]

    async def _applied(self, action: Apply, live: Manifest | None) -> Manifest:
        """Apply; when that is refused because of what others wrote beside our fields, clear that away first."""
        try:
            return await self._client.apply(action.resource, action.manifest)
        except Refused:
            operations = [] if live is None else repair(action.manifest, live)
            if live is None or not operations:
                raise
            where = (action.resource, live["metadata"]["namespace"], live["metadata"]["name"])
            paths = [each["path"] for each in operations[1:]]
            log.warning("repairing", action="child.repair", kind=where[0].kind, name=where[2], fields=paths[:10])
            await self._client.patch(*where, operations)
            answer: Manifest = await self._client.apply(action.resource, action.manifest)
            left = disown(answer)
            return await self._client.patch(*where, left) if left else answer

    async def _delete(self, key: Key, action: Delete) -> bool:
        known = {
            "metadata": {
                "namespace": key.namespace,
                "name": action.name,
                "uid": action.uid,
                "resourceVersion": action.resource_version,
            }
        }
        log.info(
            "deleting", action="child.delete", namespace=key.namespace, kind=action.resource.kind, name=action.name
        )
        try:
            answer = await self._client.delete(
                action.resource, key.namespace, action.name, uid=action.uid, resource_version=action.resource_version
            )
        except NotFound:
            self._cache.remove_child(action.resource, known)
            return True
        if answer.get("kind") == "Status" or not answer["metadata"].get("deletionTimestamp"):
            self._cache.remove_child(action.resource, known)
        else:
            self._cache.put_child(action.resource, answer)
        return True

    def _is_settled(self, action: Apply, live: Manifest) -> bool:
        metadata = live["metadata"]
        known = self._settled.get((action.resource, metadata["namespace"], metadata["name"]))
        return known == _Settled(_digest(action.manifest), metadata["resourceVersion"])

    def _note_settled(self, action: Apply, answer: Manifest) -> None:
        metadata = answer["metadata"]
        where = (action.resource, metadata["namespace"], metadata["name"])
        reasons = drift(action.manifest, answer)
        if not reasons:
            self._settled.pop(where, None)
            return
        self._settled[where] = _Settled(_digest(action.manifest), metadata["resourceVersion"])
        log.warning(
            "manifest is not canonical",
            action="child.unsettled",
            kind=action.resource.kind,
            name=metadata["name"],
            fields=reasons[:10],
        )


def _refuse_predecessors(resource: Resource, live: Manifest, owner: Manifest) -> None:
    metadata = live["metadata"]
    owners = [one["uid"] for one in metadata.get("ownerReferences") or () if one.get("kind") == names.OWNER.kind]
    if owners and owner["metadata"]["uid"] not in owners:
        request = f"apply {resource.plural} {metadata['namespace']}/{metadata['name']}"
        raise WaitingForGarbageCollection(request, "it still belongs to a deleted object of the same name", after=2.0)


def _never_changes(resource: Resource, live: Manifest) -> bool:
    """What the API server would refuse to change: immutable data, the template of a Job."""
    return bool(live.get("immutable")) or resource == names.JOB


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()
