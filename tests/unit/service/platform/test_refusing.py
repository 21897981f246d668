"""Which bytes are one plain request that can be refused unparsed, and whose row of the table they name."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ccl_service.platform.limits import LimitClass
from ccl_service.platform.phase import Phase
from ccl_service.platform.refusing import Refuser, RouteFinder, request_line
from ccl_service.platform.route import Auth, Priority, Route
from ccl_service.platform.shedding import FOREIGN_LAG_SECONDS, LAG_SAMPLES, Shedder
from ccl_service.platform.telemetry import Metrics

GET = b"GET /api/leads?limit=50 HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /api/leads HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}"


async def handler(_: web.Request) -> web.Response:
    return web.Response()


def row(method: str, path: str, priority: Priority = Priority.READ) -> Route:
    return Route(method, path, handler, Auth.PUBLIC, LimitClass.NONE, priority=priority)


def test_a_plain_request_is_read_without_its_query() -> None:
    assert request_line(GET) == ("GET", "/api/leads")
    assert request_line(POST) == ("POST", "/api/leads")


def test_a_request_of_which_something_is_missing_is_left_to_the_parser() -> None:
    assert all(request_line(data[:end]) is None for data in (GET, POST) for end in range(len(data)))


@pytest.mark.parametrize(
    "data",
    [
        GET + GET,
        POST + b"x",
        GET.replace(b"Host: x", b"Transfer-Encoding: chunked"),
        GET.replace(b"Host: x", b"Transfer-Encoding : chunked"),
        GET.replace(b"Host: x", b"Upgrade: websocket"),
        GET.replace(b"Host: x", b"Expect: 100-continue"),
        GET.replace(b"Host: x", b"Connection: close"),
        GET.replace(b"Host: x", b"Origin: https://cars.example.com"),
        GET.replace(b"Host: x", b"Host: x\r\n folded"),
        GET.replace(b"Host: x", b"Host: x\nContent-Length: 5"),
        GET.replace(b"Host: x", b"Host: x\rContent-Length: 5"),
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        GET.replace(b"/api", b"http://x/api"),
        GET.replace(b"GET ", b"GET  "),
        POST.replace(b"Length: 2", b"Length: 2\r\nContent-Length: 2"),
        POST.replace(b"Length: 2", b"Length: 2, 2"),
        POST.replace(b"Length: 2", b"Length: +2"),
        POST.replace(b"Length: 2", b"Length : 2"),
        POST.replace(b"Length: 2", b"Length:2"),
        POST.replace(b"Length: 2", b"Length: 00000002"),
        b"",
        b"\r\n\r\n",
    ],
)
def test_whatever_could_be_read_differently_is_left_to_the_parser(data: bytes) -> None:
    assert request_line(data) is None


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail(data: bytes) -> None:
    request_line(data)
    request_line(data + b"\r\n\r\n")


def test_a_path_is_found_as_the_router_finds_it() -> None:
    fixed, one, deep = row("GET", "/api/leads"), row("GET", "/api/leads/{id}"), row("GET", "/api/leads/{id}/timeline")
    finder = RouteFinder([fixed, one, deep])
    assert finder.find(("GET", "/api/leads")) is fixed
    assert finder.find(("GET", "/api/leads/7")) is one
    assert finder.find(("GET", "/api/leads/7/timeline")) is deep
    assert finder.find(("POST", "/api/leads")) is None
    assert finder.find(("GET", "/api/leads/7/other")) is None


def judge(fullness: float, phase: Phase | None = None) -> tuple[Refuser, Metrics]:
    metrics = Metrics()
    table = [row("GET", "/live", Priority.PROBE), row("GET", "/list", Priority.EXPORT)]
    shedder = Shedder(lambda: 0.0, slots=1)
    for _ in range(LAG_SAMPLES):
        shedder.measured(fullness * FOREIGN_LAG_SECONDS)
    return Refuser(table, shedder, phase or Phase(), metrics), metrics


def test_without_pressure_nothing_is_judged() -> None:
    refuser, _ = judge(0.0)
    assert refuser.judge(("GET", "/list")) is None


async def test_under_pressure_the_row_decides_and_a_refusal_is_counted() -> None:
    refuser, metrics = judge(2.0)
    assert refuser.judge(("GET", "/live")) is True
    assert refuser.judge(("GET", "/list")) is False
    assert metrics.value("ccl_http_shed_total", priority="export") == 1
    assert metrics.value("ccl_http_requests_total", method="GET", route="/list", status="503") == 1
    assert metrics.value("ccl_http_request_seconds_count", method="GET", route="/list") == 0


async def test_what_is_no_route_or_comes_on_the_way_out_is_judged_elsewhere() -> None:
    assert judge(2.0)[0].judge(("GET", "/nothing")) is None
    assert judge(2.0, Phase(moving=True))[0].judge(("GET", "/list")) is None
