"""Sends and what may happen to them, quiet hours, who may be written to outside production. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

FIRST_CONTACT: Final = "first-contact"
#: Why a person is enrolled in the first contact; one per person, however often they ask.
OCCASION_INTAKE: Final = "intake"
#: Lane of the first contact: before sequences (1) and campaigns (2).
FIRST_LANE: Final = 0

#: An automatic answer within this time of a person's own request is exempt from quiet hours.
ANSWER_WITHIN: Final = timedelta(minutes=15)
#: Hours in which people may be written to, in their own time: 47 CFR 64.1200(c)(1), applied to mail as well.
OPENS, CLOSES = time(8), time(21)

#: After this many failed attempts a send is given up.
MAX_ATTEMPTS: Final = 8


class SendState(StrEnum):
    """Where a send stands."""

    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"
    QUARANTINED = "quarantined"


class SendEvent(StrEnum):
    """What may happen to a send."""

    REQUEST = "request"
    SUPPRESS = "suppress"
    CANCEL = "cancel"
    TRY_LATER = "try_later"
    NO_ANSWER = "no_answer"
    REFUSE = "refuse"
    ACK = "ack"
    DELIVER = "deliver"
    BOUNCE = "bounce"
    COMPLAIN = "complain"
    NOT_TAKEN = "not_taken"


_S, _E = SendState, SendEvent

#: Facts about a send only grow. The provider may repeat or reorder them, or beat our own answer. A refusal ranks below
#: an acceptance: who delivered the mail has not refused it.
RANK: Final[Mapping[SendState, int]] = MappingProxyType(
    {
        state: rank
        for rank, state in enumerate(
            (
                _S.QUARANTINED,
                _S.QUEUED,
                _S.SENDING,
                _S.UNKNOWN,
                _S.FAILED,
                _S.ACCEPTED,
                _S.DELIVERED,
                _S.BOUNCED,
                _S.COMPLAINED,
            )
        )
    }
)
#: The state that a fact proves.
SAYS: Final[Mapping[SendEvent, SendState]] = MappingProxyType(
    {
        _E.NO_ANSWER: _S.UNKNOWN,
        _E.REFUSE: _S.FAILED,
        _E.ACK: _S.ACCEPTED,
        _E.DELIVER: _S.DELIVERED,
        _E.BOUNCE: _S.BOUNCED,
        _E.COMPLAIN: _S.COMPLAINED,
    }
)
#: Facts before any request are impossible for suppressed and cancelled sends, so those answer no event.
MOVES: Final[Mapping[tuple[SendState, SendEvent], SendState]] = MappingProxyType(
    {
        (_S.QUEUED, _E.REQUEST): _S.SENDING,
        (_S.QUEUED, _E.SUPPRESS): _S.SUPPRESSED,
        (_S.QUEUED, _E.CANCEL): _S.CANCELLED,
        # Only when the provider provably did not take the message: it said so, or was never reached.
        (_S.SENDING, _E.TRY_LATER): _S.QUEUED,
        # Only when its log was read and does not show the message (``unknown.py``).
        (_S.UNKNOWN, _E.NOT_TAKEN): _S.QUEUED,
    }
    | {(state, event): max(state, says, key=RANK.__getitem__) for state in RANK for event, says in SAYS.items()}
)


def after(state: SendState, event: SendEvent) -> SendState | None:
    """The state after the event; None when the pair is not in the table and nothing may change."""
    return MOVES.get((state, event))


class Hold(StrEnum):
    """Why a due send waits. It is looked at again, and no attempt is burnt."""

    QUIET_HOURS = "quiet_hours"
    NO_POSTAL_ADDRESS = "no_postal_address"
    NO_SENDER = "no_sender"
    NO_PROVIDER = "no_provider"
    NO_LINK_BASE = "no_link_base"
    NOT_ON_ALLOWLIST = "not_on_allowlist"
    OTHER_DEPLOYMENT = "other_deployment"
    PROVIDER_REFUSES_US = "provider_refuses_us"
    PROVIDER_DOWN = "provider_down"


def on_allowlist(address: str, allowlist: Sequence[str]) -> bool:
    """Whether ``address`` is listed itself, by ``@domain``, or by ``*``, in any case; an empty list allows nobody."""
    address = address.lower()
    domain = address[address.rfind("@") :]
    return any(entry.lower() in {"*", address, domain} for entry in allowlist)


def quiet_until(zones: Iterable[str], now: datetime) -> datetime | None:
    """When the person may be written to again, in UTC; None when they may be now.

    With several possible zones the answer must suit all of them. ``now`` is aware.
    """
    places = [ZoneInfo(zone) for zone in sorted(set(zones))]
    moment = now
    # Each step moves to the opening of one zone that is closed; the zones' days overlap, so that a few steps suffice.
    for _ in range(4 * len(places) + 1):
        closed = next((place for place in places if not OPENS <= moment.astimezone(place).time() < CLOSES), None)
        if closed is None:
            return None if moment == now else moment.astimezone(UTC)
        moment = _next_opening(moment, closed)
    return moment.astimezone(UTC)


def _next_opening(moment: datetime, place: ZoneInfo) -> datetime:
    local = moment.astimezone(place)
    day = local.date() if local.time() < OPENS else local.date() + timedelta(days=1)
    return datetime.combine(day, OPENS, tzinfo=place)


def exempt(requested_at: datetime | None, now: datetime) -> bool:
    """Whether a mail now is an automatic answer to the person's own request; None is no request of theirs."""
    return requested_at is not None and requested_at <= now + ANSWER_WITHIN and now - requested_at <= ANSWER_WITHIN


@dataclass(frozen=True)
class Letter:
    """What goes to the provider. ``headers`` are the message's own; ``unsubscribe`` is an https link (RFC 8058)."""

    send_id: UUID
    sender: str
    to: str
    subject: str
    text: str
    html: str
    unsubscribe: str
    tag: str


@dataclass(frozen=True)
class Accepted:
    """The provider took the message."""

    provider_id: str


@dataclass(frozen=True)
class Rejected:
    """The provider will never take this message; ``reason`` is a code."""

    reason: str


@dataclass(frozen=True)
class NotTaken:
    """The provider provably did not take it this time; ``delay`` is its wish, if it has one."""

    reason: str
    delay: timedelta | None = None


@dataclass(frozen=True)
class RefusesUs:
    """Our credentials or domain are refused: the fault is ours, not the message's."""

    reason: str


@dataclass(frozen=True)
class NoAnswer:
    """Nobody knows whether the message was taken."""

    reason: str


Answer = Accepted | Rejected | NotTaken | RefusesUs | NoAnswer
