"""What goes wrong between a caller and the service. One root, so that a caller may catch it all."""

from collections.abc import Mapping, Sequence
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

#: Statuses that a proxy before the service answers with while nobody behind it does.
_PROXY: Final = frozenset({502, 503, 504})


class ApiError(Exception):
    """Something went wrong. ``code`` is the service's problem code, empty when it said none."""

    def __init__(self, message: str, *, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class FieldProblem(BaseModel):
    """One thing wrong with a request: ``pointer`` leads to it in what ``where`` names (body, query, header, path)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    where: str = Field(alias="in")
    pointer: str
    code: str
    message: str


class ProblemDocument(BaseModel):
    """RFC 9457 as the service writes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str = ""
    title: str
    status: int
    detail: str = ""
    instance: str = ""
    code: str
    request_id: str = ""
    retryable: bool
    errors: Sequence[FieldProblem] = ()


class Problem(ApiError):
    """The service, or a proxy before it, has refused. ``retry_after`` in seconds, None when nobody said how long."""

    def __init__(self, document: ProblemDocument, *, retry_after: float | None = None) -> None:
        super().__init__(" ".join(filter(None, (document.title, document.code, document.detail))), code=document.code)
        self.document = document
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.document.status

    @property
    def retryable(self) -> bool:
        """Whether the same request may work later."""
        return self.document.retryable

    @property
    def errors(self) -> Sequence[FieldProblem]:
        """What is wrong, field by field; empty for most."""
        return self.document.errors

    @property
    def request_id(self) -> str:
        """What the service's log knows the request by."""
        return self.document.request_id


class Unreachable(ApiError):
    """No answer: nobody listens, the connection broke, or it took too long."""


class NoAnswer(ApiError):
    """A turn of a conversation got no answer: it failed (``code`` says how), or took too long."""


def problem_in(status: int, reason: str, body: bytes, headers: Mapping[str, str]) -> Problem:
    """The problem that an answer tells, also when what answered was not the service."""
    try:
        document = ProblemDocument.model_validate_json(body)
    except ValidationError:
        title = f"{status} {reason}".strip()
        document = ProblemDocument(title=title, status=status, code="", retryable=status in _PROXY)
    after = headers.get("Retry-After", "")
    return Problem(document, retry_after=float(after) if after.isascii() and after.isdigit() else None)
