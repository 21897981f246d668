"""Unsubscribe links: self-contained and without an end, so that an old mail still unsubscribes."""

import json
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import NotFound, Unauthenticated

#: The purpose whose derived key signs unsubscribe links.
PURPOSE: Final = "unsubscribe"


class UnsubscribeLinkInvalid(
    NotFound,
    code="LINK_002",
    title="This link is not one of ours",
    remedy="Use the link as it stands in the mail, whole.",
):
    """The unsubscribe link was not made by this service."""


@dataclass(frozen=True)
class Unsubscribe:
    """Who unsubscribes. The hash alone suffices: the lead may have been erased."""

    lead_id: UUID
    address_hash: bytes


def issue_unsubscribe(keys: KeyRing, who: Unsubscribe) -> str:
    """A token for ``/api/u/{token}``."""
    payload = {"l": who.lead_id.hex, "h": who.address_hash.hex()}
    return keys.sign(PURPOSE, json.dumps(payload, separators=(",", ":")).encode())


def read_unsubscribe(keys: KeyRing, token: str) -> Unsubscribe:
    """Who the token speaks for. Raises UnsubscribeLinkInvalid."""
    try:
        payload = json.loads(keys.verify(PURPOSE, token))
    except Unauthenticated as exc:
        raise UnsubscribeLinkInvalid from exc
    return Unsubscribe(UUID(payload["l"]), bytes.fromhex(payload["h"]))
