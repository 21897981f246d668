"""An Ingress as ingress-nginx would write it for nginx: its locations, its own headers, and what the annotations say.

Source: kubernetes/ingress-nginx, ``rootfs/etc/nginx/template/nginx.tmpl`` with the defaults of its ConfigMap, as far as
they decide what a caller or the service sees.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

PREFIX: Final = "nginx.ingress.kubernetes.io/"
SERVER: Final = """
map $http_upgrade $connection_upgrade {{
    default upgrade;
    '' '';
}}
upstream service {{
    {servers}
    keepalive 320;
}}
server {{
    listen 127.0.0.1:{plain};
    location / {{
        return 308 https://$host$request_uri;
    }}
}}
server {{
    listen 127.0.0.1:{tls} ssl http2;
    server_name {host};
    ssl_certificate {certificate};
    ssl_certificate_key {key};
    {locations}
    location / {{
        return 404;
    }}
}}
"""
#: In every location, before what the annotations change.
DEFAULTS: Final[Mapping[str, str]] = {
    "client_max_body_size": "1m",
    "proxy_connect_timeout": "5s",
    "proxy_send_timeout": "60s",
    "proxy_read_timeout": "60s",
    "proxy_buffering": "off",
    "proxy_request_buffering": "on",
    "proxy_next_upstream": "error timeout",
    "proxy_next_upstream_timeout": "0",
    "proxy_next_upstream_tries": "3",
}
HEADERS: Final[Mapping[str, str]] = {
    "Host": "$host",
    "Upgrade": "$http_upgrade",
    "Connection": "$connection_upgrade",
    "X-Real-IP": "$remote_addr",
    "X-Forwarded-For": "$remote_addr",
    "X-Forwarded-Host": "$host",
    "X-Forwarded-Proto": "$scheme",
}


def configuration(
    ingresses: Iterable[Mapping[str, Any]],
) -> Callable[[Path, tuple[int, int], int, int, tuple[Path, Path]], str]:
    """What nginx gets for all Ingresses of one host, as ``conftest.nginx`` wants it told."""
    written = list(ingresses)
    (host,) = {rule["host"] for each in written for rule in each["spec"]["rules"]}
    locations = "\n".join(text for each in written for text in _locations(each))

    def render(_: Path, ports: tuple[int, int], tls: int, plain: int, certificate: tuple[Path, Path]) -> str:
        servers = "\n".join(f"server 127.0.0.1:{port} max_fails=0;" for port in dict.fromkeys(ports))
        cert, key = certificate
        return SERVER.format(
            servers=servers, tls=tls, plain=plain, host=host, certificate=cert, key=key, locations=locations
        )

    return render


def _locations(ingress: Mapping[str, Any]) -> list[str]:
    directives = {**DEFAULTS, **_directives(ingress["metadata"]["annotations"])}
    lines = [f"{name} {value};" for name, value in directives.items()]
    lines += [f"proxy_set_header {name} {value};" for name, value in HEADERS.items()]
    body = "\n".join((*lines, "proxy_http_version 1.1;", "proxy_pass http://service;"))
    paths = [each for rule in ingress["spec"]["rules"] for each in rule["http"]["paths"]]
    return [f"location {match} {{\n{body}\n}}" for each in paths for match in _matches(each["path"], each["pathType"])]


def _matches(path: str, kind: str) -> tuple[str, ...]:
    """A prefix counts by whole elements: ``/api`` is for ``/api`` and ``/api/x``, not for ``/apix``."""
    return {"Exact": (f"= {path}",), "Prefix": (f"= {path}", f"{path}/")}[kind]


def _directives(annotations: Mapping[str, str]) -> dict[str, str]:
    """Each annotation as its directive. KeyError for one that ingress-nginx does not know."""
    seconds = {"proxy-connect-timeout", "proxy-send-timeout", "proxy-read-timeout", "proxy-next-upstream-timeout"}
    known = {name.replace("_", "-"): name for name in DEFAULTS} | {"proxy-body-size": "client_max_body_size"}
    found = {}
    for key, value in annotations.items():
        name = key.removeprefix(PREFIX)
        found[known[name]] = f"{value}s" if name in seconds else value
    return found
