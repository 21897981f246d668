"""The Ingresses of the public host. Pure.

Two of them, because the size of a body is a property of a whole Ingress: everything, and the import of large files.
The annotations are ingress-nginx' words for docs/nginx.conf; other controllers ignore them. WebSockets need none there.
Source: kubernetes.github.io/ingress-nginx, "Annotations".
"""

from collections.abc import Mapping
from typing import Any, Final

from ccl_operator import names
from ccl_operator.api.v1alpha1 import Http
from ccl_operator.api.values import whole_bytes
from ccl_operator.manifests.meta import Target, child

IMPORT_PATH: Final = "/api/leads/import"
#: What the service takes as an import.
IMPORT_LIMIT: Final = "100m"
DEFAULT_LIMIT: Final = "10Mi"
_PREFIX: Final = "nginx.ingress.kubernetes.io"
_COMMON: Final[Mapping[str, str]] = {
    "proxy-connect-timeout": "5",
    "proxy-send-timeout": "60",
    "proxy-read-timeout": "60",
    "proxy-next-upstream": "error timeout",
    "proxy-next-upstream-tries": "2",
    "proxy-next-upstream-timeout": "15",
}


def ingresses(target: Target, wanted: Http) -> tuple[dict[str, Any], ...]:
    """None without a class and a TLS Secret: then somebody else brings the traffic."""
    if wanted.host is None or not (wanted.ingress_class_name or wanted.tls_secret_name):
        return ()
    limit = str(whole_bytes(wanted.body_limit or DEFAULT_LIMIT))
    usual = {"proxy-body-size": limit, "proxy-buffering": "on"}
    large = {"proxy-body-size": IMPORT_LIMIT, "proxy-request-buffering": "off"}
    service = names.stable_service(target.instance)
    return (
        _ingress(target, wanted, service, usual, [("/api", "Prefix"), ("/health", "Exact")]),
        _ingress(target, wanted, f"{service}-import", large, [(IMPORT_PATH, "Exact")]),
    )


def _ingress(
    target: Target, wanted: Http, name: str, more: Mapping[str, str], paths: list[tuple[str, str]]
) -> dict[str, Any]:
    backend = {"service": {"name": names.stable_service(target.instance), "port": {"name": "http"}}}
    rules = [{"path": path, "pathType": kind, "backend": backend} for path, kind in paths]
    spec: dict[str, Any] = {"rules": [{"host": wanted.host, "http": {"paths": rules}}]}
    if wanted.ingress_class_name:
        spec["ingressClassName"] = wanted.ingress_class_name
    if wanted.tls_secret_name:
        spec["tls"] = [{"hosts": [wanted.host], "secretName": wanted.tls_secret_name}]
    built = child(names.INGRESS, target, name, {"spec": spec}, component=names.WEB)
    built["metadata"]["annotations"] = {f"{_PREFIX}/{key}": value for key, value in sorted({**_COMMON, **more}.items())}
    return built
