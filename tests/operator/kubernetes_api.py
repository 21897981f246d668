"""A plain client of the bare API server for tests: raw JSON over HTTPS, as the administrator."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import urllib3

from ccl_operator.actions import Resource
from ccl_operator.runtime.client import path

Json = dict[str, Any]


class ApiAnswer(Exception):
    """An answer that is not 2xx; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class KubernetesApi:
    """Paths come from the same ``Resource`` values that the operator uses."""

    def __init__(self, url: str, ca: Path, token: str) -> None:
        self._url = url
        self._pool = urllib3.PoolManager(ca_certs=str(ca), retries=False, timeout=10.0, maxsize=4)
        self._token = token

    def call(
        self,
        method: str,
        where: str,
        body: Mapping[str, Any] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request. Raises ApiAnswer."""
        answer = self._pool.request(
            method,
            self._url + where,
            body=None if body is None else json.dumps(body),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
        )
        if answer.status >= 300:
            raise ApiAnswer(answer.status, answer.data.decode(errors="replace"))
        found: Json = json.loads(answer.data)
        return found

    def get(self, resource: Resource, namespace: str, name: str) -> Json:
        """One object. Raises ApiAnswer with 404."""
        return self.call("GET", path(resource, namespace, name))

    def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """One object; None when there is none."""
        try:
            return self.get(resource, namespace, name)
        except ApiAnswer as answer:
            if answer.status == 404:
                return None
            raise

    def list(self, resource: Resource, namespace: str) -> list[Json]:
        """All objects of a kind in a namespace."""
        items = self.call("GET", path(resource, namespace))["items"]
        return [{"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in items]

    def create(self, resource: Resource, namespace: str | None, manifest: Mapping[str, Any]) -> Json:
        """POST."""
        named = {"apiVersion": resource.api_version, "kind": resource.kind, **manifest}
        return self.call("POST", path(resource, namespace), named)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Mapping[str, Any], subresource: str | None = None
    ) -> Json:
        """JSON merge patch."""
        where = path(resource, namespace, name, subresource)
        return self.call("PATCH", where, patch, "application/merge-patch+json")

    def delete(self, resource: Resource, namespace: str, name: str) -> None:
        """Delete at once, in the background."""
        options = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
        self.call("DELETE", path(resource, namespace, name), options)
