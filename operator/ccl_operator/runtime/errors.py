"""What can go wrong between the operator and the API server, sorted by what to do about it.

Refused (never retried unchanged): ``Refused``, ``Forbidden``, ``NotFound``. Try later: ``TryLater`` and below.
Library and transport errors are translated in ``client`` and go no further.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ApiError(Exception):
    """A request that did not do what it should. ``request`` reads like ``patch deployments loans/ccl-web``."""

    def __init__(self, request: str, message: str) -> None:
        super().__init__(f"{request}: {message}")
        self.request = request
        self.message = message


class NotFound(ApiError):
    """404."""


class Refused(ApiError):
    """The API server will never accept this: 400, 405, 413, 415, 422."""


class Forbidden(ApiError):
    """403. The message names the missing verb and resource, as the API server put it."""


class TryLater(ApiError):
    """May work the next time. ``after``: seconds the server asked for, else None."""

    def __init__(self, request: str, message: str, after: float | None = None) -> None:
        super().__init__(request, message)
        self.after = after


class Unreachable(TryLater):
    """No answer: connection refused or broken, time-out, TLS."""


class NotLeading(TryLater):
    """A write without the lease; it was not sent."""


class Conflict(TryLater):
    """409: a precondition failed, or somebody else wrote at the same time."""


class Gone(TryLater):
    """410: the resourceVersion or continue token is too old; list again."""


@dataclass(frozen=True)
class Answer:
    """What an error is made from: HTTP status, the Retry-After header, and the decoded body."""

    status: int
    retry_after: str | None
    body: Mapping[str, Any]


def from_answer(request: str, answer: Answer) -> ApiError:
    """The error of an answer that is not 2xx."""
    message = str(answer.body.get("message") or f"HTTP {answer.status}")
    match answer.status:
        case 403:
            return Forbidden(request, message)
        case 404:
            return NotFound(request, message)
        case 409:
            return Conflict(request, message)
        case 410:
            return Gone(request, message)
        case 400 | 405 | 413 | 415 | 422:
            return Refused(request, message)
    return TryLater(request, message, _seconds(answer.retry_after))


def _seconds(retry_after: str | None) -> float | None:
    # The API server only sends whole seconds, never a date (kubernetes.io, API Priority and Fairness).
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
