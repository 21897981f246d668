"""What a lead is: its fields, their normal form, its life-cycle, the kinds of its events. Pure.

Personal fields carry the mark ``PII`` here and only here; whoever masks or erases derives the list from it.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from email_validator.rfc_constants import CASE_INSENSITIVE_MAILBOX_NAMES
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, IPvAnyAddress, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from ccl_service.leads.redaction import redact
from ccl_service.platform.fields import PRINTABLE, WHOLE, Instant, clean

#: Numbers without a country code are taken for American ones.
REGION: Final = "US"


class _Pii:
    """Marks a personal field."""


PII: Final = _Pii()


class LeadState(StrEnum):
    """Where a lead stands in its life-cycle."""

    NEW = "new"
    CONTACTED = "contacted"
    ENGAGED = "engaged"
    QUALIFIED = "qualified"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    CLOSED = "closed"
    UNREACHABLE = "unreachable"
    OPTED_OUT = "opted_out"


_S = LeadState
#: The states from which a lead may still be closed, lost or opted out.
OPEN: Final = frozenset({_S.NEW, _S.CONTACTED, _S.ENGAGED, _S.QUALIFIED, _S.SUBMITTED, _S.ACCEPTED, _S.REJECTED})

#: The states in which a person who gives their first address still gets the first contact.
BEFORE_HAND_OFF: Final = frozenset({_S.NEW, _S.CONTACTED, _S.ENGAGED, _S.QUALIFIED})

#: The state reached → the states it may be reached from. The statement that moves a lead names them.
MOVES: Final[Mapping[LeadState, frozenset[LeadState]]] = MappingProxyType(
    {
        _S.NEW: frozenset(),
        _S.CONTACTED: frozenset({_S.NEW}),
        _S.ENGAGED: frozenset({_S.CONTACTED}),
        _S.QUALIFIED: frozenset({_S.NEW, _S.ENGAGED, _S.REJECTED}),
        _S.SUBMITTED: frozenset({_S.QUALIFIED}),
        _S.ACCEPTED: frozenset({_S.SUBMITTED}),
        _S.REJECTED: frozenset({_S.SUBMITTED}),
        _S.CLOSED: OPEN,
        _S.UNREACHABLE: OPEN,
        _S.OPTED_OUT: OPEN,
    }
)


class Source(StrEnum):
    """How a lead came in."""

    API = "api"
    UPLOAD = "upload"
    CHAT = "chat"
    DEALER_WEBHOOK = "dealer_webhook"
    ABANDONMENT = "abandonment"


#: Sources that are a person's own request, here and now; an imported row is not.
OWN_REQUEST: Final = frozenset({Source.API, Source.CHAT, Source.DEALER_WEBHOOK})


class EventKind(StrEnum):
    """What a timeline tells. The prefix is the feature that records it."""

    LEAD_CREATED = "lead.created"
    LEAD_REPEATED = "lead.repeated"
    LEAD_MOVED = "lead.moved"
    LEAD_PHONE_GIVEN = "lead.phone_given"
    LEAD_OPTED_OUT = "lead.opted_out"
    MAIL_QUEUED = "mail.queued"
    MAIL_HELD = "mail.held"
    MAIL_UNKNOWN = "mail.unknown"
    MAIL_ACCEPTED = "mail.accepted"
    MAIL_DELIVERED = "mail.delivered"
    MAIL_FAILED = "mail.failed"
    MAIL_SUPPRESSED = "mail.suppressed"
    MAIL_BOUNCED = "mail.bounced"
    MAIL_COMPLAINED = "mail.complained"
    MAIL_OPENED = "mail.opened"
    MAIL_CLICKED = "mail.clicked"
    CHAT_STARTED = "chat.started"
    CHAT_MESSAGE = "chat.message"
    CHAT_REPLY = "chat.reply"
    CHAT_HANDOFF = "chat.handoff"
    CHAT_CLOSED = "chat.closed"


def _text(value: str) -> str:
    """NFC, outer and repeated white space gone, SSN-like and card-like parts redacted."""
    return redact(" ".join(clean(value).split()))


def _name(value: str) -> str:
    value = _text(value)
    if not any(char.isalpha() for char in value):
        raise PydanticCustomError("name", "is not a name")
    return value


#: The usual forms, which are most of what comes; a full parse costs four times as much.
_PLAIN_LOCAL: Final = re.compile(r"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*")
_AMERICAN: Final = re.compile(r"(?:\+?1[ .-]?)?\(?([2-9]\d\d)\)?[ .-]?([2-9]\d\d)[ .-]?(\d{4})", re.ASCII)
#: RFC 2142: names of roles, which the library puts into lower case.
_ROLES: Final = frozenset(CASE_INSENSITIVE_MAILBOX_NAMES)
#: RFC 5321 4.5.3.1.1; and long before an address as a whole may be too long, which is not for the short way to tell.
_MOST_LOCAL, _MOST_SHORT = 64, 200


def normal_email(value: str) -> str:
    """The address with its domain in lower-case ASCII. Syntax only; nothing is looked up.

    Raises PydanticCustomError ``email`` when it is not one, or its local part is not ASCII (few providers take those).
    """
    text = unicodedata.normalize("NFC", value).strip()
    local, at, domain = text.rpartition("@")
    short = at and len(text) <= _MOST_SHORT and len(local) <= _MOST_LOCAL
    usual = short and _PLAIN_LOCAL.fullmatch(local) and local.lower() not in _ROLES
    known = _ascii_domain(domain) if usual else None
    return f"{local}@{known}" if known else _any_email(text)


@lru_cache(maxsize=4096)
def _ascii_domain(domain: str) -> str | None:
    """The domain in lower-case ASCII, None when it cannot be one of an address. Most people share a few of them."""
    try:
        return _any_email(f"a@{domain}").rpartition("@")[2]
    except PydanticCustomError:
        return None


def _any_email(text: str) -> str:
    """``normal_email`` of whatever there is."""
    try:
        address = validate_email(text, check_deliverability=False)
    except EmailNotValidError as exc:
        raise PydanticCustomError("email", "is not an e-mail address") from exc
    if address.ascii_email is None:
        raise PydanticCustomError("email", "has a local part outside ASCII")
    return address.ascii_email


def normal_phone(value: str) -> str:
    """The number in E.164. Raises PydanticCustomError ``phone`` when it is not a valid number."""
    if american := _AMERICAN.fullmatch(value.strip()):
        digits = "".join(american.groups())
        number = phonenumbers.PhoneNumber(country_code=1, national_number=int(digits))
        if phonenumbers.is_valid_number_for_region(number, REGION):
            return f"+1{digits}"
    return _any_phone(value)


def _any_phone(value: str) -> str:
    """``normal_phone`` of whatever there is."""
    try:
        number = phonenumbers.parse(value, REGION)
    except phonenumbers.NumberParseException as exc:
        raise PydanticCustomError("phone", "is not a phone number") from exc
    if not phonenumbers.is_valid_number(number):
        raise PydanticCustomError("phone", "is not a valid phone number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def _zip(value: str) -> str:
    """ZIP or ZIP+4, kept as five digits. A short one is refused: which zero a spreadsheet dropped is a guess."""
    digits = value.strip()
    head, dash, tail = digits.partition("-")
    if not (head.isascii() and head.isdigit() and len(head) == 5):
        raise PydanticCustomError("zip", "is not a ZIP code of five digits")
    if dash and not (tail.isascii() and tail.isdigit() and len(tail) == 4):
        raise PydanticCustomError("zip", "is not a ZIP+4 code")
    return head


Text = Annotated[
    str, Field(max_length=400, examples=["a used SUV"], json_schema_extra=PRINTABLE), AfterValidator(_text)
]
Name = Annotated[
    str,
    Field(min_length=1, max_length=100, examples=["Ana"], json_schema_extra={"format": "name"}),
    AfterValidator(_name),
]
Email = Annotated[
    str,
    Field(max_length=254, examples=["ana@example.com"], json_schema_extra={"format": "email"}),
    AfterValidator(normal_email),
]
Phone = Annotated[
    str,
    Field(max_length=40, examples=["+1 617 555 0123"], json_schema_extra={"format": "phone"}),
    AfterValidator(normal_phone),
]
Zip = Annotated[
    str,
    Field(max_length=10, examples=["02139"], json_schema_extra={"pattern": r"^\s*\d{5}(-\d{4})?\s*$"}),
    AfterValidator(_zip),
]
WebUrl = Annotated[
    str,
    Field(
        max_length=2000,
        pattern=r"^https?://[^\s\"<>\x00-\x1f\x7f-\x9f]+$",
        examples=["https://loans.example.com/apply"],
    ),
]
Dollars = Annotated[int, Field(ge=0, le=10_000_000, examples=[4200]), WHOLE]
IpAddress = Annotated[
    IPvAnyAddress,
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}],
            "examples": ["203.0.113.7"],
        }
    ),
]
_Words = Annotated[str, Field(min_length=1, json_schema_extra=PRINTABLE), AfterValidator(_text)]


class _Part(BaseModel):
    # A misspelt field would be lost in silence, so unknown ones are refused.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Consent(_Part):
    """The proof that the person agreed to be contacted, kept as given."""

    text: Annotated[_Words, Field(max_length=4000, examples=["I agree to be contacted about my application."])]
    at: Instant
    source_url: WebUrl | None = None
    ip: Annotated[IpAddress | None, PII] = None
    certificate_url: WebUrl | None = None


class Finance(_Part):
    """Facts that decide who can finance the person; whole US dollars."""

    monthly_income_usd: Annotated[Dollars | None, PII] = None
    down_payment_usd: Annotated[Dollars | None, PII] = None
    credit_band: Annotated[Literal["excellent", "good", "fair", "poor", "none", "unknown"] | None, PII] = None
    employment: Annotated[Literal["employed", "self_employed", "retired", "benefits", "unemployed"] | None, PII] = None


class LeadDraft(_Part):
    """A person as they come in, normalised. At least one of e-mail and phone is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["email"], "properties": {"email": {"type": "string"}}},
                {"required": ["phone"], "properties": {"phone": {"type": "string"}}},
            ]
        }
    )

    first_name: Annotated[Name, PII]
    last_name: Annotated[Name | None, PII] = None
    email: Annotated[Email | None, PII] = None
    phone: Annotated[Phone | None, PII] = None
    zip: Annotated[Zip | None, PII] = None
    vehicle_interest: Text | None = None
    finance: Finance = Finance()
    consent: Consent | None = None
    source: Source = Source.API
    requested_at: Instant | None = None
    external_id: Annotated[_Words, Field(max_length=200, examples=["crm-4711"])] | None = None

    @model_validator(mode="after")
    def _reachable(self) -> "LeadDraft":
        if self.email is None and self.phone is None:
            raise PydanticCustomError("contact_missing", "needs an e-mail address or a phone number")
        return self


@dataclass(frozen=True)
class Identity:
    """One way to recognise a person. ``value_hash`` is SHA-256 over kind and normal form."""

    kind: str
    value_hash: bytes


def identity(kind: Literal["email", "phone"], normal: str) -> Identity:
    """The identity of a normalised address or number; addresses compare without regard to case."""
    return Identity(kind, sha256(f"{kind}:{normal.lower()}".encode()).digest())


def identities(email: str | None, phone: str | None) -> tuple[Identity, ...]:
    """The identities of a person, e-mail first: rows are locked in this order, so that two intakes cannot deadlock."""
    found = (identity("email", email) if email else None, identity("phone", phone) if phone else None)
    return tuple(one for one in found if one)


@dataclass(frozen=True)
class Outcome:
    """What became of an intake. ``created`` is False for a person already known, ``replayed`` True for a repeat."""

    id: UUID
    state: LeadState
    created: bool
    replayed: bool = False

    def answer(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"id": str(self.id), "state": str(self.state), "created": self.created}


@dataclass(frozen=True)
class LeadEvent:
    """One line of a timeline."""

    id: int
    at: datetime
    kind: str
    actor: str
    reason: str | None
    data: Mapping[str, Any]


def personal_fields(model: type[BaseModel]) -> frozenset[str]:
    """Dotted names of the model's fields that carry the mark ``PII``, those of nested models included."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        if PII in field.metadata:
            found.add(name)
        nested = field.annotation
        for candidate in (nested, *getattr(nested, "__args__", ())):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found |= {f"{name}.{inner}" for inner in personal_fields(candidate)}
    return frozenset(found)
