"""What a scoped key is: its secret's form, its state, the bodies of its API. Pure.

A secret reads ``ccl_<8 characters>_<43 characters>``: the eight are its prefix, which finds it and may be shown; the
rest are 256 random bits, of which only the digest is kept.
"""

import base64
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ccl_service.platform.fields import WHOLE, Cursor, Instant, Line, Next
from ccl_service.platform.keys import b64encode
from ccl_service.platform.route import Scope

_FORM: Final = re.compile(r"ccl_([a-z2-7]{8})_[A-Za-z0-9_-]{43}")
DAY_SECONDS: Final = 86_400

#: So many random bytes.
RandomBytes = Callable[[int], bytes]


class KeyState(StrEnum):
    """Whether a key opens anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Secret:
    """A new secret. ``text`` is shown once."""

    prefix: str
    text: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What is kept of it."""
        return digest(self.text)


@dataclass(frozen=True, slots=True)
class Grant:
    """What the holder of a valid secret may do."""

    key_id: UUID
    scopes: frozenset[Scope]
    per_minute: int
    digest: bytes = field(repr=False)

    def opens_with(self, text: str) -> bool:
        """Whether ``text`` is the secret, compared in constant time."""
        return hmac.compare_digest(self.digest, digest(text))


def new_secret(random: RandomBytes) -> Secret:
    """A secret nobody has seen."""
    prefix = base64.b32encode(random(5)).decode().lower()
    return Secret(prefix, f"ccl_{prefix}_{b64encode(random(32))}")


def prefix_of(text: str) -> str | None:
    """The prefix of what has the form of a secret; None for anything else."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def digest(text: str) -> bytes:
    """SHA-256 of the whole secret."""
    return sha256(text.encode()).digest()


def state_of(*, expires_at: datetime | None, revoked_at: datetime | None, now: datetime) -> KeyState:
    """Revoked goes before expired."""
    if revoked_at is not None:
        return KeyState.REVOKED
    return KeyState.EXPIRED if expires_at is not None and expires_at <= now else KeyState.ACTIVE


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class KeyDraft(_Body):
    """A key to be made. ``requests_per_minute`` replaces the limit by address for its holder."""

    name: Annotated[Line, Field(min_length=1, max_length=100, examples=["Prometheus"])]
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=len(Scope))]
    requests_per_minute: Annotated[int, Field(ge=1, le=100_000), WHOLE] = 600
    expires_at: Annotated[Instant, Field(examples=["2099-01-01T00:00:00Z"])] | None = None


class Rotation(_Body):
    """How long the secrets so far stay valid beside the new one; at most 30 days."""

    overlap_seconds: Annotated[int, Field(ge=0, le=30 * DAY_SECONDS), WHOLE] = DAY_SECONDS


class KeyQuery(_Body):
    """Where to go on."""

    after: Cursor | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50


class SecretView(BaseModel):
    """A secret without what makes it one; ``valid_until`` is null for the newest."""

    prefix: Annotated[str, Field(examples=["mfrggzdf"])]
    created_at: datetime
    valid_until: datetime | None


class KeyView(BaseModel):
    """A key. ``secrets``: newest first; those that have ended are gone. ``last_used_at`` is at most a minute late.

    A scope that this version does not know is shown all the same.
    """

    id: UUID
    name: Annotated[str, Field(examples=["Prometheus"])]
    state: KeyState
    scopes: Annotated[list[str], Field(examples=[["metrics:scrape"]])]
    requests_per_minute: Annotated[int, Field(examples=[600])]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    secrets: list[SecretView]


class KeyMade(BaseModel):
    """A key with its new secret, which is shown here and nowhere else."""

    key: KeyView
    secret: Annotated[str, Field(examples=["ccl_mfrggzdf_pJf3cJ6v8mJw0w5hXW8m3oQ2b1kYt7n9s4e6r8u0a2c"])]


class KeyPage(BaseModel):
    """Keys, newest first; ``next`` continues, null at the end."""

    items: list[KeyView]
    next: Next
