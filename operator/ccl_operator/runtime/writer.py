"""Carries out one plan's writes: whose is the name, does it differ, apply or delete, and the answer into the cache.

No decision about what is wanted (``plan``) or about what comes next (``workers``).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import structlog

from ccl_operator import names
from ccl_operator.actions import Apply, Delete, Key, Manifest, Resource
from ccl_operator.ownership import standing
from ccl_operator.runtime.cache import Cache, Name
from ccl_operator.runtime.client import Client
from ccl_operator.runtime.drift import drift, plain
from ccl_operator.runtime.errors import Forbidden, NotFound, Refused
from ccl_operator.runtime.repair import Operation, disown, relabel, repair

#: Why a name is not written in this pass.
_Hold = Literal["foreign", "leaving", "found"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Names:
    """Which of a plan's names must not be written now: held by strangers; by what is being deleted, ours or a
    predecessor's; not to be looked at, for want of a permission (``hidden``: which).

    ``found``: ours turned up that the plan could not know, because its labels were gone.
    """

    foreign: frozenset[Name]
    leaving: frozenset[Name]
    hidden: Mapping[Name, str]
    found: bool

    @property
    def barred(self) -> frozenset[Name]:
        """All of them."""
        return self.foreign | self.leaving | self.hidden.keys()

    @property
    def forbidden(self) -> dict[Resource, str]:
        """Missing permissions by kind."""
        return {resource: message for (resource, _), message in self.hidden.items()}


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

        Server-side apply would take a stranger's object over without a word: what may not be looked at may not be
        written. Raises TryLater.
        """
        held: dict[_Hold, set[Name]] = {"foreign": set(), "leaving": set(), "found": set()}
        hidden: dict[Name, str] = {}
        for one in applies:
            name = (one.resource, one.manifest["metadata"]["name"])
            try:
                hold = await self._hold(key, owner, one)
            except (Forbidden, Refused) as error:
                hidden[name] = error.message
                continue
            if hold is not None:
                held[hold].add(name)
        return Names(frozenset(held["foreign"]), frozenset(held["leaving"]), hidden, bool(held["found"]))

    async def _hold(self, key: Key, owner: Manifest, one: Apply) -> _Hold | None:
        """What stands in the way of writing this name; None when nothing does. Raises Forbidden, Refused, TryLater."""
        live = await self._live(one.resource, key.namespace, one.manifest["metadata"]["name"])
        if live is None:
            return None
        whose = standing(live, owner)
        if whose == "foreign":
            return "foreign"
        if whose == "predecessor" or live["metadata"].get("deletionTimestamp"):
            self._cache.put_child(one.resource, live)
            return "leaving"
        labels = relabel(one.manifest, live)
        if labels and (one.once or _never_changes(one.resource, live) or not names.is_ours(live, key.name)):
            await self._relabel(one.resource, live, labels)
            return "found"
        self._cache.put_child(one.resource, live)
        return None

    async def _relabel(self, resource: Resource, live: Manifest, operations: list[Operation]) -> None:
        metadata = live["metadata"]
        fields = [each["path"] for each in operations[1:]]
        log.warning("relabelling", action="child.relabel", kind=resource.kind, name=metadata["name"], fields=fields)
        try:
            answer = await self._client.patch(resource, metadata["namespace"], metadata["name"], operations)
        except NotFound:
            return
        self._cache.put_child(resource, answer)

    async def write(self, key: Key, applies: Iterable[Apply], deletes: Iterable[Delete]) -> Written:
        """Apply what differs, in order, then delete. What is forbidden or refused is noted and does not stop the rest.

        Raises TryLater at the first action that may work later: those behind it may rely on it; NamespaceTerminating.
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

    async def _live(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        known = self._cache.child(resource, namespace, name)
        if known is not None:
            return known
        try:
            return await self._client.get(resource, namespace, name)
        except NotFound:
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
        manifest = action.manifest
        if action.resource_version:
            manifest = {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": action.resource_version}}
        try:
            return await self._client.apply(action.resource, manifest)
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


def _never_changes(resource: Resource, live: Manifest) -> bool:
    """What the API server would refuse to change: immutable data, the template of a Job."""
    return bool(live.get("immutable")) or resource == names.JOB


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()
