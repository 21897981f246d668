"""Plain requests to the real kube-apiserver, with every answer's code and message."""

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from ccl_operator import names
from hack.cluster.apiserver import ADMIN, ApiServer

NAMESPACE = "rules"


@dataclass(frozen=True)
class Api:
    """Requests as the administrator."""

    server: ApiServer

    def request(self, method: str, path: str, body: Any = None, content: str = "application/json") -> tuple[int, Any]:
        """Status code and answer."""
        token = self.server.token_for(ADMIN.name)
        request = urllib.request.Request(
            f"{self.server.url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": content},
        )
        context = ssl.create_default_context(cafile=str(self.server.ca))
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                text = refused.read().decode()
                # Until the group is served, the answer is a plain page.
                return refused.code, json.loads(text) if text.startswith("{") else {"message": text}

    def create(self, name: str, spec: Any, *, dry_run: bool = True) -> tuple[int, Any]:
        """Create a CclDeployment with strict field validation."""
        suffix = "&dryRun=All" if dry_run else ""
        return self.request("POST", f"{self.path()}?fieldValidation=Strict{suffix}", self.manifest(name, spec))

    def replace(self, name: str, spec: Any, resource_version: str) -> tuple[int, Any]:
        """Replace a CclDeployment, without keeping the result."""
        manifest = self.manifest(name, spec)
        manifest["metadata"]["resourceVersion"] = resource_version
        return self.request("PUT", f"{self.path()}/{name}?dryRun=All", manifest)

    @staticmethod
    def manifest(name: str, spec: Any) -> dict[str, Any]:
        """A CclDeployment."""
        return {
            "apiVersion": names.OWNER.api_version,
            "kind": names.OWNER.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": spec,
        }

    @staticmethod
    def path() -> str:
        """Where CclDeployments are."""
        return f"/apis/{names.OWNER.group}/{names.OWNER.version}/namespaces/{NAMESPACE}/{names.OWNER.plural}"


@pytest.fixture(scope="session")
def rest(server: ApiServer) -> Api:
    """Requests to the server, with a namespace that enforces the profile ``restricted``."""
    found = Api(server)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    code, answer = found.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}})
    assert code == 201, answer
    return found
