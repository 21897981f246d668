"""The error family of the service and its RFC 9457 form.

An error says what happened and carries data as attributes; its text is logged and shown to callers, so it holds no
address, phone number or secret. Which answer becomes of it is decided here and nowhere else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import ClassVar

CONTENT_TYPE = "application/problem+json"
TYPE_BASE = "urn:ccl:problem:"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with the input. ``field`` is a dotted path, ``code`` stable, ``message`` free of the value."""

    field: str
    code: str
    message: str


class CclError(Exception):
    """The root. Itself a bug: answered with 500 and nothing internal."""

    code: ClassVar[str] = "SYSTEM_001"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.title)
        self.detail = detail

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers that go with the answer."""
        return {}

    @property
    def errors(self) -> Sequence[FieldError]:
        """What is wrong, field by field; empty for most."""
        return ()


class Refused(CclError):
    """The request is understood and refused; repeating it unchanged will not help."""

    code = "REFUSED_001"
    status = 422
    title = "Refused"


class TryLater(CclError):
    """It may work after ``delay``."""

    code = "SYSTEM_002"
    status = 503
    title = "Temporarily unavailable"
    retryable = True

    def __init__(self, detail: str = "", *, delay: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.delay = delay

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, ceil(self.delay.total_seconds())))}


class ValidationFailed(Refused):
    """The body or the query does not have the documented form."""

    code = "VALIDATION_001"
    title = "The request is not valid"

    def __init__(self, errors: Sequence[FieldError], detail: str = "") -> None:
        super().__init__(detail)
        self._errors = tuple(errors)

    @property
    def errors(self) -> Sequence[FieldError]:
        return self._errors


class Malformed(Refused):
    """Not HTTP, not JSON, or not UTF-8."""

    code = "VALIDATION_002"
    status = 400
    title = "The request cannot be read"


class TooLarge(Refused):
    """The body is larger than the limit of the route."""

    code = "VALIDATION_003"
    status = 413
    title = "The body is too large"


class UnsupportedType(Refused):
    """The body's content type is not one the route takes."""

    code = "VALIDATION_004"
    status = 415
    title = "Unsupported content type"


class Unauthenticated(Refused):
    """No credentials, or none that count here."""

    code = "AUTH_001"
    status = 401
    title = "Authentication required"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(Refused):
    """Known, but not allowed to do this."""

    code = "AUTH_002"
    status = 403
    title = "Not allowed"


class MissingScope(Forbidden):
    """The key is valid, but was not made for this."""

    code = "AUTH_003"
    title = "The key lacks a scope"


class NotFound(Refused):
    """No such route or object."""

    code = "NOT_FOUND_001"
    status = 404
    title = "Not found"


class MethodNotAllowed(Refused):
    """The path exists, the method does not."""

    code = "NOT_FOUND_002"
    status = 405
    title = "Method not allowed"

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__()
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Allow": ", ".join(sorted(self.allowed))}


class NotAcceptable(Refused):
    """Well-formed, but not something this route can ever take; the sender must not repeat it."""

    code = "VALIDATION_005"
    status = 406
    title = "Not acceptable"


class Conflict(Refused):
    """The object is in a state that does not allow this."""

    code = "CONFLICT_001"
    status = 409
    title = "Conflict"


class IdempotencyMismatch(Refused):
    """The idempotency key was used before with another body."""

    code = "IDEMPOTENCY_001"
    title = "Idempotency-Key was used with another body"


class RateLimited(TryLater):
    """Too many requests; ``delay`` says when the window ends."""

    code = "RATE_LIMIT_001"
    status = 429
    title = "Too many requests"


class DatabaseUnavailable(TryLater):
    """The database does not answer, or no connection came free in time."""

    code = "DATABASE_001"
    title = "The database does not answer"


class StatementAborted(TryLater):
    """PostgreSQL gave the statement up in favour of another (serialization, deadlock, lock time-out)."""

    code = "DATABASE_002"
    title = "The database asks for another attempt"


class ConstraintViolated(CclError):
    """A database constraint refused a write. ``kind`` is unique, foreign_key, check, not_null or exclusion.

    A feature that expects it translates it; unexpected, it is a bug.
    """

    def __init__(self, constraint: str, kind: str) -> None:
        super().__init__(f"{kind} constraint {constraint} violated")
        self.constraint = constraint
        self.kind = kind


def as_document(error: CclError, *, instance: str, request_id: str) -> dict[str, object]:
    """The problem document. A bug shows its title only; the log has the rest."""
    document: dict[str, object] = {
        "type": f"{TYPE_BASE}{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail if error.status != 500 else "",
        "instance": instance,
        "code": error.code,
        "request_id": request_id,
        "retryable": error.retryable,
    }
    if error.errors:
        document["errors"] = [{"field": e.field, "code": e.code, "message": e.message} for e in error.errors]
    return document
