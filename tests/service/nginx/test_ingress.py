"""What the operator's Ingresses make of a request is what ``docs/nginx.conf`` makes of it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ccl_operator.api.v1alpha1 import Http
from ccl_operator.manifests.ingress import ingresses
from ccl_operator.manifests.meta import Target
from tests.service.nginx.conftest import NAME, nginx, rendered
from tests.service.nginx.ingress import configuration
from tests.service.nginx.test_what_is_sent_on import Door
from tests.service.nginx.upstream import recorder

HTTP = Http(host=NAME, ingress_class_name="nginx", tls_secret_name="tls")
SITES = {
    "the documented file": rendered,
    "the Ingresses": configuration(ingresses(Target("ccl", "loans", "uid"), HTTP)),
}
MIB = 2**20


@pytest.fixture(params=SITES.values(), ids=SITES)
async def door(certificate: tuple[Path, Path], request: pytest.FixtureRequest) -> AsyncIterator[Door]:
    async with recorder() as upstream:
        with nginx((upstream.port, upstream.port), certificate, request.param) as balancer:
            yield Door(balancer, upstream)


def head(method: str, path: str, **fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {NAME}", *(f"{key}: {value}" for key, value in fields.items())]
    return "\r\n".join((*lines, "", "")).encode()


PATHS = {
    "/health": True,
    "/api/leads": True,
    "/api/leads/import": True,
    "/api/chat/ws": True,
    "/": False,
    "/healthz": False,
    "/health/x": False,
    "/apix": False,
    "/live": False,
    "/metrics": False,
}


async def test_the_same_paths_lead_to_the_service(door: Door) -> None:
    for path, wanted in PATHS.items():
        door.recorder.received.clear()
        answer = await door.balancer.answer(head("GET", path))
        assert (answer.status == 200) is wanted, path
        assert bool(door.recorder.received) is wanted, path


@pytest.mark.parametrize(
    ("path", "size", "wanted"),
    [
        ("/api/leads", 10 * MIB, 200),
        ("/api/leads", 10 * MIB + 1, 413),
        ("/api/leads/import", 10 * MIB + 1, 200),
        ("/api/leads/import", 100 * MIB + 1, 413),
    ],
)
async def test_bodies_are_as_large_as_the_service_takes_them(door: Door, path: str, size: int, wanted: int) -> None:
    # What is too large is told by its length alone.
    body = bytes(size) if wanted == 200 else b""
    assert (await door.balancer.answer(head("POST", path, **{"Content-Length": str(size)}) + body)).status == wanted
    assert [len(found.body) for found in door.recorder.received] == ([size] if wanted == 200 else [])


async def test_the_service_hears_of_the_client_from_the_proxy_alone(door: Door) -> None:
    claims = {"X-Forwarded-For": "198.51.100.7", "X-Real-IP": "198.51.100.7", "X-Forwarded-Proto": "http"}
    assert (await door.balancer.answer(head("GET", "/api/leads", **claims))).status == 200
    (request,) = door.recorder.received
    assert request.values("x-forwarded-for") == request.values("x-real-ip") == [b"127.0.0.1"]
    assert request.values("x-forwarded-proto") == [b"https"]
    assert request.values("host") == [NAME.encode()]


async def test_a_socket_is_opened_through_it(door: Door) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert (await door.balancer.answer(head("GET", "/api/chat/ws", **upgrade))).status == 200
    (request,) = door.recorder.received
    assert (request.values("connection"), request.values("upgrade")) == ([b"upgrade"], [b"websocket"])


async def test_plain_http_is_sent_to_tls(door: Door) -> None:
    answer = await door.balancer.answer(head("GET", "/api/leads?a=b"), plain=door.balancer.plain)
    assert (answer.status, answer.headers["Location"]) == (308, f"https://{NAME}/api/leads?a=b")


def test_a_limit_of_ones_own_stands_in_the_ingress_of_everything_else() -> None:
    everything, imports = ingresses(Target("ccl", "loans", "uid"), HTTP.model_copy(update={"body_limit": "5Mi"}))
    render = configuration([everything, imports])
    text = render(Path(), (1, 1), 2, 3, (Path("c"), Path("k")))
    assert text.count(f"client_max_body_size {5 * MIB};") == 3
    assert text.count("client_max_body_size 100m;") == 1
