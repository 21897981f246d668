"""What nginx answers itself has the form and the headers of the service's own answers."""

import json
import shutil
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from ccl_service.platform.middleware import HSTS, SECURITY_HEADERS
from ccl_service.platform.problems import (
    CclError,
    HeadTooLarge,
    Malformed,
    MethodNotAllowed,
    NotFound,
    TooLarge,
    TryLater,
    as_document,
)
from hack.ports import free_port
from tests.service.nginx.conftest import Answer, Balancer, nginx

HOST = b"Host: your-domain.com\r\n"
#: Request → the service's problem, and the path that it names.
REFUSED: dict[str, tuple[bytes, CclError, str]] = {
    "no host": (b"GET /api/a HTTP/1.1\r\n\r\n", Malformed(), "/api/a"),
    "no http": (b"\x16\x03\x01 nonsense\r\n\r\n", Malformed(), ""),
    "no version": (b"GET /api/a HTTP/9.1\r\n" + HOST + b"\r\n", Malformed(), ""),
    "no coding": (b"POST /api/a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n", Malformed(), "/api/a"),
    "no path": (b"GET /../a HTTP/1.1\r\n" + HOST + b"\r\n", Malformed(), ""),
    "no method": (b"TRACE /api/a HTTP/1.1\r\n" + HOST + b"\r\n", MethodNotAllowed(()), "/api/a"),
    "long path": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", HeadTooLarge(), ""),
    "long field": (b"GET /a HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 9000 + b"\r\n\r\n", HeadTooLarge(), "/a"),
}
OVER_TLS = REFUSED | {
    "no place": (b"GET /console?a=b HTTP/1.1\r\n" + HOST + b"\r\n", NotFound(), "/console"),
    "large body": (
        b"POST /api/a HTTP/1.1\r\n" + HOST + b"Content-Length: 11000000\r\n\r\n",
        TooLarge(),
        "/api/a",
    ),
    "nobody there": (b"GET /api/a?b=c HTTP/1.1\r\n" + HOST + b"\r\n", TryLater(), "/api/a"),
    "a path to escape": (b"GET /a%22b HTTP/1.1\r\n" + HOST + b"\r\n", NotFound(), ""),
}


@pytest.fixture(scope="module")
def alone(certificate: tuple[Path, Path]) -> Iterator[Balancer]:
    """nginx in front of nobody."""
    with nginx((free_port(), free_port()), certificate) as balancer:
        yield balancer


def is_the_problem(answer: Answer, expected: CclError, instance: str) -> None:
    document = json.loads(answer.body)
    assert document == as_document(expected, instance=instance, request_id=answer.headers["X-Request-ID"])
    assert answer.status == expected.status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert ("Allow" in answer.headers) == (expected.status == 405)


def has_the_security_headers(headers: Message) -> None:
    own = {name: headers[name] for name in SECURITY_HEADERS}
    assert own == {**SECURITY_HEADERS, "Server": "nginx"}


@pytest.mark.parametrize(("request_bytes", "expected", "instance"), OVER_TLS.values(), ids=OVER_TLS)
async def test_a_refusal_over_tls_is_a_problem_with_every_header(
    alone: Balancer, request_bytes: bytes, expected: CclError, instance: str
) -> None:
    answer = await alone.answer(request_bytes)
    is_the_problem(answer, expected, instance)
    has_the_security_headers(answer.headers)
    assert answer.headers["Strict-Transport-Security"] == HSTS
    assert answer.headers["Retry-After"] == expected.headers.get("Retry-After")


@pytest.mark.parametrize(("request_bytes", "expected", "instance"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_on_the_plain_port_is_a_problem_and_promises_no_https(
    alone: Balancer, request_bytes: bytes, expected: CclError, instance: str
) -> None:
    answer = await alone.answer(request_bytes, plain=alone.plain)
    is_the_problem(answer, expected, instance)
    assert "Strict-Transport-Security" not in answer.headers


async def test_plain_http_on_the_port_of_tls_is_a_problem(alone: Balancer) -> None:
    answer = await alone.answer(b"GET /api/a HTTP/1.1\r\n" + HOST + b"\r\n", plain=alone.port)
    is_the_problem(answer, Malformed(), "/api/a")
    has_the_security_headers(answer.headers)
    assert "Strict-Transport-Security" not in answer.headers


async def test_a_disk_that_takes_no_body_is_a_failure_that_says_no_more(certificate: tuple[Path, Path]) -> None:
    with nginx((free_port(), free_port()), certificate) as balancer:
        shutil.rmtree(balancer.folder / "body")
        body = b"a" * 100_000
        head = b"POST /api/a HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body)
        answer = await balancer.answer(head + body)
    is_the_problem(answer, CclError(), "/api/a")
    has_the_security_headers(answer.headers)
