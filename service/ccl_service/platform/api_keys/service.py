"""Makes, lists, rotates and revokes scoped keys."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ccl_service.platform.api_keys import sql
from ccl_service.platform.api_keys.directory import Directory
from ccl_service.platform.api_keys.model import (
    KeyDraft,
    KeyMade,
    KeyView,
    RandomBytes,
    Secret,
    new_secret,
    state_of,
)
from ccl_service.platform.audit.model import Caller
from ccl_service.platform.audit.service import Audit
from ccl_service.platform.db import Db
from ccl_service.platform.problems import Conflict, FieldError, NotFound, ValidationFailed


class KeyNotUsable(
    Conflict,
    code="KEY_001",
    title="The key has expired or was revoked",
    remedy="Make a new key.",
):
    """A key that opens nothing any more cannot be rotated."""


class ApiKeys:
    """The use cases. Every change is one transaction."""

    def __init__(
        self,
        db: Db,
        directory: Directory,
        audit: Audit,
        *,
        now: Callable[[], datetime],
        new_id: Callable[[], UUID],
        random: RandomBytes,
    ) -> None:
        self._db = db
        self._directory = directory
        self._audit = audit
        self._now = now
        self._new_id = new_id
        self._random = random

    async def create(self, draft: KeyDraft, caller: Caller) -> KeyMade:
        """A new key and its secret. Raises ValidationFailed for one that would never be valid."""
        if draft.expires_at is not None and draft.expires_at <= self._now():
            raise ValidationFailed([FieldError(("expires_at",), "past", "lies in the past")])
        key_id, secret = self._new_id(), new_secret(self._random)
        scopes = sorted(set(draft.scopes))
        async with self._db.transaction() as tx:
            await tx.execute(sql.NEW, key_id, draft.name, scopes, draft.requests_per_minute, draft.expires_at)
            await tx.execute(sql.ADD, key_id, secret.prefix, secret.digest)
            changes = draft.model_dump(mode="json") | {"scopes": scopes, "prefix": secret.prefix}
            await self._audit.record(tx, caller, "key:created", "key", key_id, changes=changes)
            return await self._made(tx, key_id, secret)

    async def page(self, *, after: tuple[datetime, UUID] | None, limit: int) -> list[KeyView]:
        """Newest first."""
        at, key_id = after or (None, None)
        return [self._view(dict(row)) for row in await self._db.fetch(sql.PAGE, at, key_id, limit)]

    async def get(self, key_id: UUID) -> KeyView:
        """Raises NotFound."""
        return await self._get(self._db, key_id)

    async def rotate(self, key_id: UUID, caller: Caller, *, overlap: timedelta) -> KeyMade:
        """A new secret; the ones so far stay valid for ``overlap`` at most. Raises NotFound, KeyNotUsable."""
        secret = new_secret(self._random)
        async with self._db.transaction() as tx:
            if await tx.fetchval(sql.LOCK_USABLE, key_id) is None:
                await self._get(tx, key_id)
                raise KeyNotUsable
            await tx.execute(sql.END_SECRETS, key_id, overlap)
            await tx.execute(sql.ADD, key_id, secret.prefix, secret.digest)
            changes = {"overlap_seconds": overlap.total_seconds(), "prefix": secret.prefix}
            await self._audit.record(tx, caller, "key:rotated", "key", key_id, changes=changes)
            made = await self._made(tx, key_id, secret)
        self._directory.forget()
        return made

    async def revoke(self, key_id: UUID, caller: Caller) -> None:
        """The key opens nothing any more: here at once, elsewhere within seconds. Raises NotFound."""
        async with self._db.transaction() as tx:
            if await tx.execute(sql.REVOKE, key_id):
                changes = {"revoked_at": self._now().isoformat()}
                await self._audit.record(tx, caller, "key:revoked", "key", key_id, changes=changes)
            else:
                await self._get(tx, key_id)  # revoked before: nothing changes, and nothing is to be told
        self._directory.forget()

    async def _made(self, tx: Db, key_id: UUID, secret: Secret) -> KeyMade:
        return KeyMade(key=await self._get(tx, key_id), secret=secret.text)

    async def _get(self, db: Db, key_id: UUID) -> KeyView:
        row = await db.fetchrow(sql.GET, key_id)
        if row is None:
            raise NotFound("no key with this id")
        return self._view(dict(row))

    def _view(self, row: Mapping[str, Any]) -> KeyView:
        return KeyView(
            **{name: row[name] for name in ("id", "name", "scopes", "created_at", "last_used_at")},
            expires_at=row["expires_at"],
            revoked_at=row["revoked_at"],
            requests_per_minute=row["per_minute"],
            state=state_of(expires_at=row["expires_at"], revoked_at=row["revoked_at"], now=self._now()),
            secrets=json.loads(row["secrets"]),
        )
