"""The error family of the service and its RFC 9457 form.

An error says what happened and carries data as attributes; its text is logged and shown to callers, so it holds no
address, phone number or secret. Which answer becomes of it stands in the head of its class and nowhere else; the first
paragraph of its docstring is its meaning on the page that ``type`` points to.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import ClassVar, Final

CONTENT_TYPE: Final = "application/problem+json"
#: A path (RFC 9457 3.1.1 allows it), so that it leads to the page of the very service that answered.
TYPE_BASE: Final = "/api/problems/"
#: Errors listed in one answer, and characters of a pointer: a sender may have got a thousand things wrong.
MOST_ERRORS: Final = 50
MOST_POINTER: Final = 200


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with the input. ``path`` leads to it; ``code`` is stable; ``message`` free of what was sent.

    ``where`` is body, query, header or path.
    """

    path: tuple[str | int, ...]
    code: str
    message: str
    where: str = "body"

    @property
    def pointer(self) -> str:
        """The path as a JSON Pointer in a URI fragment's place, ``#`` for the whole (RFC 6901, unencoded)."""
        parts = (str(part).replace("~", "~0").replace("/", "~1") for part in self.path)
        return "".join(["#", *(f"/{part}" for part in parts)])[:MOST_POINTER]


class CclError(Exception):
    """Something failed inside the service. The answer says nothing about it; the log has it under the request id."""

    code: ClassVar[str] = "SYSTEM_001"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    #: What the caller does about it.
    remedy: ClassVar[str] = "Report it with the request id."

    def __init_subclass__(
        cls, *, code: str = "", status: int = 0, title: str = "", remedy: str = "", retryable: bool | None = None
    ) -> None:
        """What is not given is inherited."""
        super().__init_subclass__()
        cls.code = code or cls.code
        cls.status = status or cls.status
        cls.title = title or cls.title
        cls.remedy = remedy or cls.remedy
        cls.retryable = cls.retryable if retryable is None else retryable

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


class Refused(
    CclError, code="REFUSED_001", status=422, title="Refused", remedy="Change the request; repeating it will not help."
):
    """The request is understood and refused."""


class TryLater(
    CclError,
    code="SYSTEM_002",
    status=503,
    title="Temporarily unavailable",
    remedy="Repeat the request after the seconds in Retry-After.",
    retryable=True,
):
    """The service cannot answer now, and expects to be able to soon."""

    def __init__(self, detail: str = "", *, delay: timedelta = timedelta(seconds=1)) -> None:
        super().__init__(detail)
        self.delay = delay

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Retry-After": str(max(1, ceil(self.delay.total_seconds())))}


class ValidationFailed(
    Refused,
    code="VALIDATION_001",
    title="The request is not valid",
    remedy="Mend what `errors` lists: where it stands (`in`, `pointer`), a stable `code`, and what is allowed.",
):
    """The body, the query or a header does not have the documented form."""

    def __init__(self, errors: Sequence[FieldError], detail: str = "") -> None:
        super().__init__(detail)
        self._errors = tuple(errors)

    @property
    def errors(self) -> Sequence[FieldError]:
        return self._errors


class Malformed(
    Refused,
    code="VALIDATION_002",
    status=400,
    title="The request cannot be read",
    remedy="Send HTTP/1.1, and JSON in UTF-8 without repeated keys, nested no deeper than the route takes.",
):
    """What came is not HTTP, not JSON, or not UTF-8."""


class TooLarge(
    Refused,
    code="VALIDATION_003",
    status=413,
    title="The body is too large",
    remedy="Send less at once; the limit of each route stands in the API's document.",
):
    """The body is larger than the limit of the route."""


class UnsupportedType(
    Refused,
    code="VALIDATION_004",
    status=415,
    title="Unsupported content type",
    remedy="Send the content type that the route documents.",
):
    """The body's content type is not one the route takes."""


class NotAcceptable(
    Refused,
    code="VALIDATION_005",
    status=406,
    title="Not acceptable",
    remedy="Do not send it again.",
):
    """It is well-formed, but not something this route can ever take."""


class HeadTooLarge(
    Refused,
    code="VALIDATION_006",
    status=431,
    title="The request's head is too large",
    remedy="Send fewer or shorter headers, or a shorter URL: a line may have 8,190 bytes, a head 128 lines.",
):
    """A header, the URL, or all headers together are larger than the service takes (RFC 6585)."""


class TooSlow(
    Refused,
    code="VALIDATION_007",
    status=408,
    title="The request came too slowly",
    remedy="Send the whole body at once, over a better connection.",
    retryable=True,
):
    """The body did not arrive in time."""


class Unauthenticated(
    Refused,
    code="AUTH_001",
    status=401,
    title="Authentication required",
    remedy="Send a valid key as `Authorization: Bearer` or `X-API-Key`; a visitor's token comes from "
    "`POST /api/chat/sessions`.",
):
    """There are no credentials, or they are unknown, expired or revoked."""

    @property
    def headers(self) -> Mapping[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class Forbidden(
    Refused, code="AUTH_002", status=403, title="Not allowed", remedy="Use a key that may; the root key may everything."
):
    """The credentials are valid, but their holder may not do this."""


class MissingScope(
    Forbidden,
    code="AUTH_003",
    title="The key lacks a scope",
    remedy="Have a key made with the scope that `detail` names.",
):
    """The key is valid, but was not made for this."""


class NotFound(Refused, code="NOT_FOUND_001", status=404, title="Not found", remedy="Check the path and the id."):
    """There is no such route or object, or it is somebody else's."""


class MethodNotAllowed(
    Refused, code="NOT_FOUND_002", status=405, title="Method not allowed", remedy="Use a method that `Allow` lists."
):
    """The path exists, the method does not."""

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__()
        self.allowed = tuple(allowed)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Allow": ", ".join(sorted(self.allowed))}


class Conflict(
    Refused,
    code="CONFLICT_001",
    status=409,
    title="Conflict",
    remedy="Look at the object's present state, then decide.",
):
    """The object is in a state that does not allow this."""


class IdempotencyMismatch(
    Refused,
    code="IDEMPOTENCY_001",
    title="Idempotency-Key was used with another body",
    remedy="Use a new key for a new request; repeat an old one with its very bytes.",
):
    """The same Idempotency-Key came with another body within 24 hours."""


class RateLimited(
    TryLater,
    code="RATE_LIMIT_001",
    status=429,
    title="Too many requests",
    remedy="Wait the seconds in Retry-After; `RateLimit` and `RateLimit-Policy` say how much is left beforehand.",
):
    """The caller has used up what its address, key or conversation may send in this window."""

    def __init__(
        self,
        detail: str = "",
        *,
        delay: timedelta = timedelta(seconds=1),
        limit: str = "",
        standing: Mapping[str, str] | None = None,
    ) -> None:
        """``limit`` names the limit for metrics; ``standing``: the headers that tell the caller where it stands."""
        super().__init__(detail, delay=delay)
        self.limit = limit
        self._standing = dict(standing or {})

    @property
    def headers(self) -> Mapping[str, str]:
        return {**super().headers, **self._standing}


class TooManyConnections(
    RateLimited,
    code="RATE_LIMIT_002",
    title="Too many connections",
    remedy="Keep connections and use them again.",
):
    """The caller's address holds more connections than one client may."""


class Overloaded(
    TryLater,
    code="SYSTEM_003",
    title="More work than time",
    remedy="Repeat the request after the seconds in Retry-After, with some jitter; less urgent requests wait first.",
):
    """The service turns less urgent requests away so that the more urgent ones are answered in time."""


class DatabaseUnavailable(TryLater, code="DATABASE_001", title="The database does not answer"):
    """The database does not answer, or no connection to it came free in time."""


class StatementAborted(TryLater, code="DATABASE_002", title="The database asks for another attempt"):
    """The database gave the statement up in favour of another one (serialization, deadlock, lock time-out)."""


class ConstraintViolated(CclError):
    """A database constraint refused a write. ``kind`` is unique, foreign_key, check, not_null or exclusion.

    A feature that expects it translates it; unexpected, it is a bug.
    """

    def __init__(self, constraint: str, kind: str) -> None:
        super().__init__(f"{kind} constraint {constraint} violated")
        self.constraint = constraint
        self.kind = kind


class ValueRefused(CclError):
    """The database cannot hold a value (SQLSTATE class 22 and the like). Unexpected, it is a bug of the validation."""


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
        document["errors"] = [
            {"in": e.where, "pointer": e.pointer, "code": e.code, "message": e.message}
            for e in error.errors[:MOST_ERRORS]
        ]
    return document


def own_errors() -> tuple[type[CclError], ...]:
    """The classes of this module, by code; those of a feature stand in the ``errors`` of its routes."""
    return catalogue(kind for kind in descendants(CclError) if kind.__module__ == __name__)


def descendants(kind: type[CclError]) -> Iterable[type[CclError]]:
    """``kind`` and everything derived from it, parents first."""
    yield kind
    for child in kind.__subclasses__():
        yield from descendants(child)


def catalogue(kinds: Iterable[type[CclError]]) -> tuple[type[CclError], ...]:
    """One class for each code, sorted by code; of several the first counts."""
    found: dict[str, type[CclError]] = {}
    for kind in kinds:
        found.setdefault(kind.code, kind)
    return tuple(found[code] for code in sorted(found))


def meaning(kind: type[CclError]) -> str:
    """What the error says to a caller: the first paragraph of its docstring on one line."""
    return " ".join((kind.__doc__ or "").split("\n\n")[0].split())
