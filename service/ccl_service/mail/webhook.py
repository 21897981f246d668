"""Mailgun's event webhooks: is it from Mailgun, what does it say. Pure.

Source: Mailgun documentation, "Securing Webhooks": hex HMAC-SHA256 of timestamp + token under the signing key.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ccl_service.platform.problems import NotAcceptable, Unauthenticated


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Signature(_Part):
    """Proof that the event is Mailgun's."""

    timestamp: str = Field(min_length=1, max_length=20, pattern=r"^\d+$")
    token: str = Field(min_length=1, max_length=200)
    signature: str = Field(min_length=1, max_length=200)


class _EventData(_Part):
    event: str = Field(min_length=1, max_length=40)
    id: str = Field(min_length=1, max_length=200)
    timestamp: float = Field(ge=0, le=32_503_680_000)
    severity: str | None = None
    reason: str | None = Field(default=None, max_length=200)
    message: dict[str, Any] = Field(default_factory=dict)
    user_variables: dict[str, Any] = Field(default_factory=dict, alias="user-variables")


class WebhookBody(_Part):
    """The body of a webhook call."""

    signature: Signature
    event_data: _EventData = Field(alias="event-data")


@dataclass(frozen=True)
class ProviderEvent:
    """One event. ``send_id`` is our own variable, ``provider_id`` the message id without brackets; either may lack."""

    id: str
    kind: str
    at: datetime
    permanent: bool
    reason: str | None
    send_id: UUID | None
    provider_id: str | None


def read_event(raw: bytes, signing_key: str) -> ProviderEvent:
    """The event in a webhook body. Raises NotAcceptable when malformed, Unauthenticated for another signature."""
    try:
        body = WebhookBody.model_validate_json(raw)
    except ValidationError as exc:
        raise NotAcceptable("not an event webhook") from exc
    signature = body.signature
    signed = hmac.new(signing_key.encode(), f"{signature.timestamp}{signature.token}".encode(), sha256).hexdigest()
    if not hmac.compare_digest(signed.encode(), signature.signature.encode()):
        raise Unauthenticated("the signature is not valid")
    data = body.event_data
    return ProviderEvent(
        id=data.id,
        kind=data.event,
        at=datetime.fromtimestamp(data.timestamp, UTC),
        permanent=data.severity != "temporary",
        reason=data.reason,
        send_id=_uuid(data.user_variables.get("send_id")),
        provider_id=_message_id(data.message),
    )


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _message_id(message: dict[str, Any]) -> str | None:
    headers = message.get("headers")
    found = headers.get("message-id") if isinstance(headers, dict) else None
    return found.strip("<>") if isinstance(found, str) and found else None
