"""Answers of the API server, sorted by what to do about them."""

import pytest

from ccl_operator.runtime.errors import (
    Answer,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    Refused,
    TryLater,
    from_answer,
)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *[(status, Refused) for status in (400, 405, 413, 415, 422)],
        (401, TryLater),  # the token has just rotated
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (429, TryLater),
        (500, TryLater),
        (503, TryLater),
    ],
)
def test_a_status_code_decides_what_kind_of_error_it_is(status: int, kind: type[ApiError]) -> None:
    error = from_answer("patch x", Answer(status, None, {"message": "why"}))
    assert type(error) is kind
    assert (error.request, error.message) == ("patch x", "why")


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_the_servers_wish_when_to_come_back_is_kept(header: str | None, seconds: float | None) -> None:
    error = from_answer("get x", Answer(429, header, {}))
    assert isinstance(error, TryLater)
    assert error.after == seconds
    assert error.message == "HTTP 429"
