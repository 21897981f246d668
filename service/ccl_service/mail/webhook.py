"""Mailgun's event webhooks: is it from Mailgun, what does it say. Pure.

Source: Mailgun documentation, "Securing Webhooks": hex HMAC-SHA256 of timestamp + token under the signing key. The
event itself is not signed; that is why a signature counts for a while only, and its token once.
"""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ccl_service.platform.json_input import decode_json
from ccl_service.platform.problems import Malformed, NotAcceptable, Unauthenticated, ValidationFailed

#: Mailgun tries a webhook for eight hours ("Webhooks", retries), perhaps with the signature of its first try.
MOST_AGE: Final = timedelta(hours=9)
#: How far its clock may run ahead of ours.
MOST_AHEAD: Final = timedelta(minutes=5)


_EPOCH: Final = datetime.fromtimestamp(0, UTC)
#: The year 3000: what is later is nonsense, and soon past the end of the calendar.
_LAST_SECOND: Final = 32_503_680_000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Signature(_Part):
    """Proof that the event is Mailgun's."""

    timestamp: str = Field(min_length=1, max_length=20, pattern=r"^\d+$", examples=["1772366400"])
    token: str = Field(min_length=1, max_length=200, examples=["0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a697887"])
    signature: str = Field(min_length=1, max_length=200, examples=["ab" * 32])


class _EventData(_Part):
    event: str = Field(min_length=1, max_length=40, examples=["failed"])
    id: str = Field(min_length=1, max_length=200, examples=["G9Bn5sl1TC6nu79C8C0bwg"])
    timestamp: float = Field(strict=True, ge=0, le=_LAST_SECOND, examples=[1772366399.8])
    severity: str | None = Field(default=None, examples=["permanent"])
    reason: str | None = Field(default=None, max_length=200, examples=["bounce"])
    message: dict[str, Any] = Field(default_factory=dict, examples=[{"headers": {"message-id": "1@mg.example.com"}}])
    user_variables: dict[str, Any] = Field(
        default_factory=dict, alias="user-variables", examples=[{"send_id": "0b0e7e0e-3c43-4d5c-9d4a-5f1f4f2f6a11"}]
    )


class WebhookBody(_Part):
    """The body of a webhook call."""

    signature: Signature
    event_data: _EventData = Field(alias="event-data")


class WebhookAnswer(BaseModel):
    """``applied``: whether the event was new."""

    applied: bool


@dataclass(frozen=True)
class ProviderEvent:
    """One event. ``send_id`` is our own variable, ``provider_id`` the message id without brackets; either may lack.

    ``token`` is the digest of the signature's token, None for an event that was not delivered but read from the log.
    """

    id: str
    kind: str
    at: datetime
    permanent: bool
    reason: str | None
    send_id: UUID | None
    provider_id: str | None
    token: bytes | None = None


def read_event(raw: bytes, signing_key: str, now: datetime) -> ProviderEvent:
    """The event in a webhook body.

    Raises NotAcceptable when malformed, Unauthenticated for another signature or one of another time.
    """
    try:
        body = WebhookBody.model_validate(decode_json(raw))
    except (Malformed, ValidationFailed, ValidationError) as exc:
        raise NotAcceptable("not an event webhook") from exc
    signature = body.signature
    signed = hmac.new(signing_key.encode(), f"{signature.timestamp}{signature.token}".encode(), sha256).hexdigest()
    if not hmac.compare_digest(signed.encode(), signature.signature.encode()):
        raise Unauthenticated("the signature is not valid")
    if not -MOST_AHEAD <= now - _moment(float(signature.timestamp)) <= MOST_AGE:
        raise Unauthenticated("the signature is too old, or from the future")
    return _event(body.event_data, sha256(signature.token.encode()).digest())


def event_in(item: object) -> ProviderEvent | None:
    """The event in an item of Mailgun's log; None when it carries no send id of ours.

    One that does but is otherwise of an unknown form still proves that Mailgun has the message: it counts as accepted.
    """
    variables = item.get("user-variables") if isinstance(item, dict) else None
    send_id = _uuid(variables.get("send_id")) if isinstance(variables, dict) else None
    if send_id is None:
        return None
    try:
        return _event(_EventData.model_validate(item), None)
    except ValidationError:
        return ProviderEvent(f"log:{send_id}", "accepted", _EPOCH, True, None, send_id, None)


def _event(data: _EventData, token: bytes | None) -> ProviderEvent:
    return ProviderEvent(
        id=data.id,
        kind=data.event,
        at=_moment(data.timestamp),
        permanent=data.severity != "temporary",
        reason=data.reason,
        send_id=_uuid(data.user_variables.get("send_id")),
        provider_id=_message_id(data.message),
        token=token,
    )


def _moment(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=min(seconds, _LAST_SECOND))


def _uuid(value: object) -> UUID | None:
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _message_id(message: dict[str, Any]) -> str | None:
    headers = message.get("headers")
    found = headers.get("message-id") if isinstance(headers, dict) else None
    return found.strip("<>") if isinstance(found, str) and found else None
