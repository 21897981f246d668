"""What the benchmark does as the administrator: a plain client of the API server, and objects in numbers."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import urllib3

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.runtime.client import path
from hack.cluster.apiserver import ADMIN, ApiServer

NAMESPACE: Final = "bench"
SPEC: Final = {
    "image": "registry.example/ccl-service:1",
    "replicas": 2,
    "environment": "staging",
    "secrets": {name: {"generate": True} for name in ("internalApiKey", "jwt", "session")},
    "mail": {"from": "Cathy <cathy@mg.example.com>"},
    "http": {"host": "loans.example.com"},
    "database": {"embedded": {"version": 17, "storage": "1Gi"}, "pool": {"size": 5}, "pooler": {"poolSize": 10}},
    "sessions": {"redis": {"embedded": {}}},
    "networkPolicy": {"enabled": True},
    "promotion": {"minReady": "0s"},
    "backup": {"schedule": "0 2 * * *", "destination": {"pvc": {"size": "1Gi"}}, "retention": {"keepLast": 7}},
}

Json = dict[str, Any]


class Api:
    """Answers that are not 2xx come back as None where that is said, else raise RuntimeError."""

    def __init__(self, server: ApiServer) -> None:
        self._url, self._token = server.url, server.token_for(ADMIN.name)
        self._pool = urllib3.PoolManager(ca_certs=str(server.ca), retries=False, timeout=10.0, maxsize=8, block=True)

    def call(
        self, method: str, where: str, body: Mapping[str, Any] | None = None, kind: str = "application/json"
    ) -> Json | None:
        """One request; None for 404."""
        answer = self._pool.request(
            method,
            self._url + where,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": kind},
        )
        if answer.status == 404:
            return None
        if answer.status >= 300:
            raise RuntimeError(f"{method} {where}: {answer.status} {answer.data[:300]!r}")
        found: Json = json.loads(answer.data)
        return found

    def watch(self, resource: Resource, namespace: str | None) -> Iterator[Json]:
        """Events of a kind, all objects first, until the stream ends."""
        answer = self._pool.request(
            "GET",
            f"{self._url}{path(resource, namespace)}?watch=1&resourceVersion=0",
            headers={"Authorization": f"Bearer {self._token}"},
            preload_content=False,
            timeout=None,
        )
        rest = b""
        try:
            for chunk in answer.read_chunked():  # as they come: whatever reads ahead would hold events back
                *lines, rest = (rest + chunk).split(b"\n")
                yield from map(json.loads, lines)
        finally:
            answer.close()

    def create(self, resource: Resource, manifest: Mapping[str, Any], namespace: str | None = NAMESPACE) -> None:
        """POST."""
        body = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        self.call("POST", path(resource, namespace), body)

    def get(self, resource: Resource, name: str) -> Json | None:
        """One object, None when there is none."""
        return self.call("GET", path(resource, NAMESPACE, name))

    def delete(self, resource: Resource, name: str) -> None:
        """Delete at once."""
        self.call("DELETE", path(resource, NAMESPACE, name))

    def set_image(self, name: str, number: int) -> None:
        """Ask for another image."""
        patch = {"spec": {"image": f"registry.example/ccl-service:{number}"}}
        self.call("PATCH", path(names.OWNER, NAMESPACE, name), patch, "application/merge-patch+json")

    def create_many(self, resource: Resource, manifests: list[Json]) -> None:
        """POST all of them, eight at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda manifest: self.create(resource, manifest), manifests))


def deployments(count: int) -> list[Json]:
    """CclDeployments ``x0``, ``x1``, …"""
    return [{"metadata": {"name": f"x{number}", "namespace": NAMESPACE}, "spec": SPEC} for number in range(count)]


def foreign_secrets(count: int) -> list[Json]:
    """Secrets of somebody else, about 1 kB each."""
    return [{"metadata": {"name": f"foreign-{number}"}, "data": {"x": "eHh4" * 300}} for number in range(count)]
