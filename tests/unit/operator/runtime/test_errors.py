"""Answers of the API server, sorted by what to do about them."""

import pytest

from ccl_operator.runtime.errors import (
    Answer,
    ApiError,
    Conflict,
    Forbidden,
    Gone,
    NamespaceTerminating,
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
        (403, Refused),  # no authorizer said it
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


LACKING = (
    'deployments.apps "ccl-web" is forbidden: User "system:serviceaccount:ccl-system:ccl-operator" cannot patch'
    ' resource "deployments" in API group "apps" in the namespace "loans"'
)
LEAVING = {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]}


@pytest.mark.parametrize(
    ("message", "details", "kind"),
    [
        (LACKING, {}, Forbidden),
        (f"{LACKING}: RBAC: role.rbac.authorization.k8s.io not found", {}, Forbidden),
        ('forbidden: User "x" cannot get path "/apis"', {}, Forbidden),
        ('pods "x" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1', {}, Refused),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged', {}, Refused),
        ('services "ccl" is forbidden: ValidatingAdmissionPolicy denied it: cannot be made here', {}, Refused),
        ("unable to create new content in namespace x because it is being terminated", LEAVING, NamespaceTerminating),
    ],
)
def test_only_what_an_authorizer_denies_is_a_missing_permission(
    message: str, details: dict[str, object], kind: type[ApiError]
) -> None:
    error = from_answer("patch x", Answer(403, None, {"message": message, "details": details}))
    assert type(error) is kind
    assert error.message == message


@pytest.mark.parametrize(("header", "seconds"), [("7", 7.0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)])
def test_the_servers_wish_when_to_come_back_is_kept(header: str | None, seconds: float | None) -> None:
    error = from_answer("get x", Answer(429, header, {}))
    assert isinstance(error, TryLater)
    assert error.after == seconds
    assert error.message == "HTTP 429"
