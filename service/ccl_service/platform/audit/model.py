"""What an audit row is, how it is put into bytes, and how rows are chained. Pure.

A row carries a MAC of the process that wrote it; the sealer gives it a place (``seq``) and a hash over the hash
before it; each batch ends in a seal, a MAC over the chain's head. Whoever lacks the keys can neither write a row nor
move one, and whoever cuts the tail off contradicts the last head (``audit_state``, the log, ``--expect-head``).
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from ccl_contract.audit import head_text

#: What the first row is chained to; migration 0005 writes the same.
GENESIS: Final = hashlib.sha256(b"ccl/audit/v1").digest()
#: Under which name the audit keys are derived from the JWT key.
PURPOSE: Final = "audit"
#: Bytes of a digest that stands for a value.
DIGEST_BYTES: Final = 16


class Kind(StrEnum):
    """What a MAC is over; keeps one kind from standing in for another."""

    VALUE = "value"
    ROW = "row"
    SEAL = "seal"
    STATE = "state"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who acts: kind and id of the principal, the key used, the request, and the client's address.

    The address is never stored; a keyed digest of it is.
    """

    kind: str
    id: str
    key_id: str | None = None
    request_id: str | None = None
    client: str | None = None

    def origin(self) -> Mapping[str, str]:
        """Kind, key and request, without the address: for traces that are kept elsewhere, with what they tell of."""
        named = {"principal": self.kind, "key_id": self.key_id, "request_id": self.request_id}
        return {name: value for name, value in named.items() if value}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row as its writer made it. ``changes`` maps field names to digests; ``objects`` counts what was changed."""

    event: UUID
    at: datetime
    principal_kind: str
    principal_id: str
    key_id: str | None
    request_id: str | None
    client: str | None
    action: str
    object_kind: str
    object_id: str
    objects: int
    changes: Mapping[str, str]
    mac_key: str
    mac: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Link:
    """A row's place in the chain. ``proven``: its MAC was right when it was sealed."""

    seq: int
    hash: bytes
    proven: bool


@dataclass(frozen=True, slots=True)
class Row:
    """A row as stored; ``link`` is None until it is sealed."""

    id: int
    entry: Entry
    link: Link | None


@dataclass(frozen=True, slots=True)
class Head:
    """The chain's end. Its text ``<seq>:<hash>`` is what logs show and ``--expect-head`` takes.

    The text has the first half of the hash only.
    """

    seq: int
    hash: bytes

    def __str__(self) -> str:
        return head_text(self.seq, self.hash)

    @classmethod
    def parse(cls, text: str) -> "Head":
        """The head of a text; its hash may be short. Raises ValueError."""
        if not re.fullmatch(r"\d{1,18}:[0-9a-f]{32}([0-9a-f]{32})?", text):
            raise ValueError("a head is <seq>:<32 hex digits>")
        seq, digest = text.split(":")
        return cls(int(seq), bytes.fromhex(digest))

    def meets(self, whole: "Head") -> bool:
        """Whether this, perhaps from a text, is ``whole``."""
        return self.seq == whole.seq and whole.hash.startswith(self.hash)


@dataclass(frozen=True, slots=True)
class Seal:
    """The end of a batch. ``continues`` is False where the state before it was not what this trail had left there."""

    batch: int
    head: Head
    continues: bool
    sealed_at: datetime
    mac_key: str
    mac: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class State:
    """Where the chain ends, kept apart from it. No MAC before the first batch."""

    batch: int
    head: Head
    mac_key: str | None
    mac: bytes | None


class Macs:
    """MACs under the derived keys; ``keys`` maps ids to secrets, the one to sign with first."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self.current = next(iter(self._keys))

    def make(self, kind: Kind, content: bytes, key_id: str | None = None) -> bytes:
        """32 bytes under the key named, by default the current one. Raises KeyError when it is not held."""
        return hmac.digest(self._keys[key_id or self.current], f"{kind}\0".encode() + content, hashlib.sha256)

    def check(self, kind: Kind, content: bytes, key_id: str, mac: bytes) -> bool | None:
        """Whether the MAC is right; None when the key is not held."""
        if key_id not in self._keys:
            return None
        return hmac.compare_digest(self.make(kind, content, key_id), mac)

    def digest(self, name: str, value: object) -> str:
        """What stands for a value: hex, the same for the same field and value under one key."""
        content = canonical({"field": name, "value": value if isinstance(value, str) else canonical(value).decode()})
        return self.make(Kind.VALUE, content)[:DIGEST_BYTES].hex()


def canonical(value: object) -> bytes:
    """One text for one value: JSON with sorted keys and no spaces, instants in UTC with microseconds."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain).encode()


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, set | frozenset | tuple):
        return sorted(value) if isinstance(value, set | frozenset) else list(value)
    return str(value)


def row_content(entry: Entry) -> bytes:
    """What a row's MAC is over: everything but the MAC."""
    return canonical(_fields(entry))


def _fields(entry: Entry) -> dict[str, object]:
    return {
        "v": 1,
        "event": str(entry.event),
        "at": entry.at,
        "principal": [entry.principal_kind, entry.principal_id, entry.key_id],
        "request": [entry.request_id, entry.client],
        "action": entry.action,
        "object": [entry.object_kind, entry.object_id, entry.objects],
        "changes": dict(entry.changes),
        "mac_key": entry.mac_key,
    }


def chain(before: bytes, row_id: int, entry: Entry, *, seq: int, proven: bool) -> bytes:
    """The hash of the row that becomes number ``seq`` after the one with the hash ``before``."""
    own = canonical(_fields(entry) | {"id": row_id, "seq": seq, "proven": proven, "mac": entry.mac})
    return hashlib.sha256(before + own).digest()


def seal_content(before: bytes, seal: Seal) -> bytes:
    """What a seal's MAC is over; ``before`` is the ``seal_link`` of the seal before it, ``GENESIS`` for the first.

    So the newest seal vouches for all of them, also for those whose keys are gone.
    """
    return canonical(_seal_fields(seal) | {"before": before})


def seal_link(seal: Seal) -> bytes:
    """What the next seal holds on to."""
    return hashlib.sha256(canonical(_seal_fields(seal) | {"mac": seal.mac})).digest()


def _seal_fields(seal: Seal) -> dict[str, object]:
    return {
        "v": 1,
        "batch": seal.batch,
        "head": [seal.head.seq, seal.head.hash],
        "continues": seal.continues,
        "sealed_at": seal.sealed_at,
        "mac_key": seal.mac_key,
    }


def state_content(batch: int, head: Head, mac_key: str) -> bytes:
    """What the state's MAC is over."""
    return canonical({"v": 1, "batch": batch, "head": [head.seq, head.hash], "mac_key": mac_key})
