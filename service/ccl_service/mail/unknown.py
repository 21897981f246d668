"""When a send of unknown outcome may be judged, and how. Pure.

A send becomes unknown when its request went out and no answer came back. Its presence in the provider's log proves
that it was taken, at any time; its absence proves something only later, because events appear in the log late.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from ccl_service.mail.provider import TIMEOUT

#: An event may appear in the log this long after it happened.
LATE: Final = timedelta(minutes=30)
#: Absence counts from here on, since the mark before the request.
PROOF_AFTER: Final = TIMEOUT + LATE
#: The provider's clock and the database's may differ by this much.
SKEW: Final = timedelta(minutes=5)
#: What the provider keeps on its smallest plan is a day; beyond it an absence proves nothing.
RETENTION: Final = timedelta(hours=23)


@dataclass(frozen=True)
class UnknownSend:
    """A send whose outcome nobody knows. ``via``: the account that was asked, None when that was not noted."""

    id: UUID
    sent_at: datetime
    asked_at: datetime
    attempts: int
    via: str | None


class Judgement(StrEnum):
    """What becomes of a send that the log does not show."""

    WAIT = "wait"
    NOT_TAKEN = "not_taken"
    LOST = "lost"


def judge(send: UnknownSend, *, account: str, complete: bool) -> Judgement:
    """``complete``: the log of ``account`` was read from beginning to end and does not show the send."""
    age = send.asked_at - send.sent_at
    if age > RETENTION:
        return Judgement.LOST
    proven = complete and age > PROOF_AFTER and send.via == account
    return Judgement.NOT_TAKEN if proven else Judgement.WAIT


@dataclass(frozen=True)
class Stretch:
    """A stretch of the log and the sends that it must show if they were taken."""

    begin: datetime
    end: datetime
    sends: tuple[UnknownSend, ...]


def stretches(sends: Iterable[UnknownSend]) -> Sequence[Stretch]:
    """What to read of the log, oldest first: each send's own stretch, those that overlap joined."""
    found: list[Stretch] = []
    for send in sorted(sends, key=lambda one: (one.sent_at, one.id)):
        begin, end = send.sent_at - SKEW, send.sent_at + PROOF_AFTER
        if found and begin <= found[-1].end:
            last = found[-1]
            found[-1] = Stretch(last.begin, end, (*last.sends, send))
        else:
            found.append(Stretch(begin, end, (send,)))
    return found
