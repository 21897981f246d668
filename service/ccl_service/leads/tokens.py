"""Return links: what the signed token of ``/api/r/{token}`` says. Signing itself belongs to the key ring."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from ccl_service.platform.keys import KeyRing
from ccl_service.platform.problems import NotFound, Unauthenticated

#: The purpose whose derived key signs return links; a token of another purpose never verifies.
PURPOSE: Final = "return-link"
VALID_FOR: Final = timedelta(hours=48)


class LinkInvalid(
    NotFound,
    code="LINK_001",
    title="This link is not valid any more",
    remedy="Use the link of a newer mail, or open a conversation without one.",
):
    """The return link was not made by this service, or is older than 48 hours."""


@dataclass(frozen=True)
class ReturnLink:
    """A way back for one lead; ``send_id`` is the mail that carried it."""

    lead_id: UUID
    send_id: UUID
    until: datetime


def issue_return(keys: KeyRing, lead_id: UUID, send_id: UUID, now: datetime) -> str:
    """A token for ``/api/r/{token}``, good for 48 hours from ``now``."""
    until = int((now + VALID_FOR).timestamp())
    payload = {"l": lead_id.hex, "s": send_id.hex, "u": until}
    return keys.sign(PURPOSE, json.dumps(payload, separators=(",", ":")).encode())


def read_return(keys: KeyRing, token: str, now: datetime) -> ReturnLink:
    """What the token says. Raises LinkInvalid when it is forged, of another purpose, or too old."""
    try:
        payload = json.loads(keys.verify(PURPOSE, token))
    except Unauthenticated as exc:
        raise LinkInvalid from exc
    link = ReturnLink(UUID(payload["l"]), UUID(payload["s"]), datetime.fromtimestamp(payload["u"], UTC))
    if link.until <= now:
        raise LinkInvalid
    return link
