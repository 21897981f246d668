"""One frozen ``Observed`` per reconcile: everything a plan may look at. The only reader of the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ccl_contract.readiness import ReadinessReport
from ccl_operator import names
from ccl_operator.actions import Key, Manifest, Resource
from ccl_operator.api.references import secret_names


@dataclass(frozen=True)
class Probe:
    """The last answer of one pod's gate call. ``report`` is None when it was inconclusive, ``error`` then says why.

    ``silent_since``: of one in a row of inconclusive answers; when the pod last said something, or was first asked.
    """

    at: datetime
    report: ReadinessReport | None
    error: str = ""
    silent_since: datetime | None = None

    @property
    def quiet_since(self) -> datetime:
        """When the pod last said something; when it was first asked, if it never did."""
        return self.silent_since or self.at


@dataclass(frozen=True)
class Observed:
    """A CclDeployment and all that belongs to it, as the cache held it at one moment.

    ``children``: per kind the objects with our managed-by and instance labels in the namespace, sorted by name;
    every kind of ``names.CHILDREN`` has an entry. ``referenced``: Secrets that the spec names, by name; None when
    the Secret does not exist; a name that is missing was not read yet. ``foreign``: objects that carry a name we
    want and are not ours. ``probes``: by pod UID.
    """

    owner: Manifest
    children: Mapping[Resource, tuple[Manifest, ...]]
    referenced: Mapping[str, Manifest | None] = field(default_factory=dict)
    foreign: frozenset[tuple[Resource, str]] = frozenset()
    probes: Mapping[str, Probe] = field(default_factory=dict)
    #: Kinds the operator lacks a permission for: kind → the missing verb, as the API server put it.
    forbidden: Mapping[Resource, str] = field(default_factory=dict)
    #: Children that the API server did not take in the last pass: what it said.
    refused: Mapping[tuple[Resource, str], str] = field(default_factory=dict)
    #: Which of the optional kinds the cluster has.
    served: frozenset[Resource] = frozenset()


class CacheReader(Protocol):
    """What ``observe`` needs of the cache (``runtime.cache`` provides it)."""

    def owner(self, key: Key) -> Manifest | None:
        """The CclDeployment itself."""

    def children(self, resource: Resource, key: Key) -> Sequence[Manifest]:
        """Objects of a kind in the key's namespace that carry our labels with its instance."""

    def referenced(self, namespace: str, names: Sequence[str]) -> Mapping[str, Manifest | None]:
        """Secrets as last read; a name never read is absent, a Secret that does not exist is None."""

    def foreign(self, key: Key) -> frozenset[tuple[Resource, str]]:
        """Names that the last applies found taken by objects that are not ours."""

    def forbidden(self, key: Key) -> Mapping[Resource, str]:
        """Permissions that the last applies lacked."""

    def refused(self, key: Key) -> Mapping[tuple[Resource, str], str]:
        """Children that the API server did not take in the last pass, and why."""

    def served(self) -> frozenset[Resource]:
        """Which of the optional kinds the API server serves."""

    def probes(self, key: Key) -> Mapping[str, Probe]:
        """Last gate answers by pod UID."""


def observe(cache: CacheReader, key: Key) -> Observed | None:
    """All there is to know about one CclDeployment; None when the cache does not hold it."""
    owner = cache.owner(key)
    if owner is None:
        return None
    return Observed(
        owner=owner,
        children={resource: _sorted(cache.children(resource, key)) for resource in names.CHILDREN},
        referenced=cache.referenced(key.namespace, secret_names(owner)),
        foreign=cache.foreign(key),
        probes=cache.probes(key),
        forbidden=cache.forbidden(key),
        refused=cache.refused(key),
        served=cache.served(),
    )


def _sorted(manifests: Sequence[Manifest]) -> tuple[Manifest, ...]:
    return tuple(sorted(manifests, key=lambda manifest: str(manifest["metadata"]["name"])))
