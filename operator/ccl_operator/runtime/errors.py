"""What can go wrong between the operator and the API server, sorted by what to do about it.

Refused (for now): ``Refused``, ``Forbidden``, ``NotFound``, ``NamespaceTerminating``. Try later: ``TryLater`` and
below. Library and transport errors are translated in ``client`` and go no further.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

#: What every authorizer's refusal holds, and no admission's (k8s.io/apiserver, responsewriters, forbiddenMessage).
_LACKING: Final = re.compile(r"\bcannot \S+ (resource|path) \"")


class ApiError(Exception):
    """A request that did not do what it should. ``request`` reads like ``patch deployments loans/ccl-web``."""

    def __init__(self, request: str, message: str) -> None:
        super().__init__(f"{request}: {message}")
        self.request = request
        self.message = message


class NotFound(ApiError):
    """404."""


class Refused(ApiError):
    """The API server does not accept this as things are: 400, 405, 413, 415, 422, and what admission forbids: a quota
    that is used up, a policy, a limit."""


class Forbidden(ApiError):
    """403 for want of a permission. The message names the missing verb and resource, as the API server put it."""


class NamespaceTerminating(ApiError):
    """403: the namespace is being deleted, with all that is in it. Nothing can be made there any more."""


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
            return _denied(request, message, answer.body)
        case 404:
            return NotFound(request, message)
        case 409:
            return Conflict(request, message)
        case 410:
            return Gone(request, message)
        case 400 | 405 | 413 | 415 | 422:
            return Refused(request, message)
    return TryLater(request, message, _seconds(answer.retry_after))


def _denied(request: str, message: str, body: Mapping[str, Any]) -> ApiError:
    """Authorization and admission both answer 403; only the first is a matter of permissions."""
    causes = (body.get("details") or {}).get("causes") or ()
    # Since Kubernetes 1.16 (k8s.io/api/core/v1, NamespaceTerminatingCause).
    if any(cause.get("reason") == "NamespaceTerminating" for cause in causes):
        return NamespaceTerminating(request, message)
    return Forbidden(request, message) if _LACKING.search(message) else Refused(request, message)


def _seconds(retry_after: str | None) -> float | None:
    # The API server only sends whole seconds, never a date (kubernetes.io, API Priority and Fairness).
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None
