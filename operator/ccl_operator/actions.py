"""What a plan can ask for. Plain values: ``plan`` makes them, ``runtime`` carries them out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

#: A Kubernetes object as JSON. Never changed in place.
Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """Names one CclDeployment."""

    namespace: str
    name: str


@dataclass(frozen=True)
class Resource:
    """A kind with the path under which the API server serves it; ``group`` is empty for the core group."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As manifests spell it: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(frozen=True)
class Apply:
    """Bring one object to this form by server-side apply; nothing is written when it is in this form already.

    ``once``: only make it. When it turns out to exist already and is ours (the cache was behind), nothing is written
    and the cache learns it: its content is either immutable or was drawn at random. An object that is not ours is
    never written; it goes into ``Observed.foreign``, and every pass asks for it again, so that its going is noticed.

    ``resource_version``: refused, and tried again with a fresh look, when the object has another by now: its content
    was made from what was seen, and must not write over what is newer. Empty: whatever it has.
    """

    resource: Resource
    manifest: Manifest
    once: bool = False
    resource_version: str = ""


@dataclass(frozen=True)
class Delete:
    """Delete exactly the object seen: the preconditions keep a successor of the same name alive.

    With propagation policy Background, said explicitly: the default for Jobs is to orphan their pods.
    """

    resource: Resource
    name: str
    uid: str
    resource_version: str


@dataclass(frozen=True)
class Event:
    """An event on the CclDeployment; ``reason`` in CamelCase."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class ProbeTarget:
    """A pod whose production readiness is to be asked for."""

    pod_uid: str
    pod_ip: str
    port: int


@dataclass(frozen=True)
class Plan:
    """One pass: what to write, in order, then events, then the status (whole; written only when different).

    ``probes`` replaces the set of probe targets of this object. ``requeue_at``: look again then at the latest.
    """

    applies: tuple[Apply, ...] = ()
    deletes: tuple[Delete, ...] = ()
    events: tuple[Event, ...] = ()
    status: Manifest | None = None
    probes: tuple[ProbeTarget, ...] = ()
    requeue_at: datetime | None = None
