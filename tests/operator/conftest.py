"""One real kube-apiserver for all tests of the operator, with the CRD; per test a namespace and the operator's role."""

import base64
import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ccl_contract.keys import INTERNAL_API, JWT, SESSION, KeyFile, parse_key_file
from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.api.schema import crd
from ccl_operator.runtime import rbac
from hack.cluster.apiserver import ADMIN, OPERATOR, ApiServer, bare_apiserver
from hack.cluster.audit import Written, words
from tests.operator.by_hand import ByHand
from tests.operator.kubernetes_api import ApiAnswer, Json, KubernetesApi
from tests.operator.operator_process import OperatorProcess, until

CRD = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
NAMESPACE = Resource("", "v1", "namespaces", "Namespace")
ROLES = {
    kind: Resource("rbac.authorization.k8s.io", "v1", f"{kind.lower()}s", kind)
    for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
}

OPERATOR_NAMESPACE = "ccl-system"

#: Enough for a first promotion: two web pods, everything embedded, backups.
SPEC: Json = {
    "image": "registry.example/ccl-service:1",
    "replicas": 2,
    "environment": "staging",
    "http": {"trustProxy": {"hops": 1}},
    "web": {"resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "0.5Gi"}}},
    "secrets": {
        "internalApiKey": {"generate": True},
        "jwt": {"generate": True},
        "session": {"generate": True},
    },
    "mail": {"from": "Cathy <cathy@mg.example.com>"},
    "database": {"embedded": {"version": 17, "storage": "1Gi"}},
    "sessions": {"redis": {"embedded": {}}},
    "promotion": {"minReady": "0s"},
    "backup": {"schedule": "0 2 * * *", "destination": {"pvc": {"size": "1Gi"}}, "retention": {"keepLast": 7}},
}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server, with the CRD of the code."""
    with bare_apiserver(tmp_path_factory.mktemp("apiserver")) as found:
        api = KubernetesApi(found.url, found.ca, found.token_for(ADMIN.name))
        api.create(CRD, None, crd())
        until("the CRD is served", lambda: _is_served(api))
        yield found


def _is_served(api: KubernetesApi) -> bool:
    try:
        api.list(names.OWNER, "default")
    except ApiAnswer:
        return False
    return True


@pytest.fixture(scope="session")
def api(server: ApiServer) -> KubernetesApi:
    """The administrator's client."""
    return KubernetesApi(server.url, server.ca, server.token_for(ADMIN.name))


@pytest.fixture(scope="session")
def written(server: ApiServer) -> Written:
    """What operators have written so far."""
    return Written(server.audit_log, OPERATOR.name)


@pytest.fixture(scope="session")
def _numbers() -> Iterator[int]:
    return itertools.count(1)


@dataclass
class Place:
    """One namespace in which one operator works."""

    server: ApiServer
    api: KubernetesApi
    namespace: str
    hand: ByHand
    folder: Path
    written: Written
    """By the operators of all places."""
    processes: list[OperatorProcess] = field(default_factory=list)

    def start_operator(self) -> OperatorProcess:
        """A new operator process, ready."""
        process = self.launch_operator()
        process.wait_ready()
        return process

    def launch_operator(self, kubeconfig: Path | None = None, name: str = "operator", *options: str) -> OperatorProcess:
        """A new operator process, not waited for; ``name`` is its pod's."""
        kubeconfig = kubeconfig or self.server.kubeconfig_for(OPERATOR.name)
        process = OperatorProcess(kubeconfig, self.namespace, self.folder / f"{name}.log", name, *options)
        self.processes.append(process)
        return process

    def create(self, name: str = "ccl", **spec: Any) -> Json:
        """A CclDeployment; ``spec`` replaces fields of the usual one."""
        metadata = {"name": name, "namespace": self.namespace}
        return self.api.create(names.OWNER, self.namespace, {"metadata": metadata, "spec": SPEC | spec})

    def owner(self, name: str = "ccl") -> Json:
        """The CclDeployment now."""
        return self.api.get(names.OWNER, self.namespace, name)

    def condition(self, kind: str, name: str = "ccl") -> Json:
        """One condition, empty when it is not there or speaks of an older generation."""
        owner = self.owner(name)
        for found in (owner.get("status") or {}).get("conditions") or ():
            if found["type"] == kind and found["observedGeneration"] == owner["metadata"]["generation"]:
                return dict(found)
        return {}

    def is_true(self, kind: str, name: str = "ccl") -> bool:
        """Whether the condition is True for the present generation."""
        return self.condition(kind, name).get("status") == "True"

    def promote(self, name: str = "ccl") -> None:
        """Play controllers until the object is promoted and ready."""

        def promoted() -> bool:
            self.hand.step()
            return all(self.is_true(kind, name) for kind in ("Promoted", "Ready"))

        until("the CclDeployment is promoted", promoted, timeout=60)

    def written_children(self) -> list[Json]:
        """Everything of ours, of the kinds that the operator writes."""
        return [
            item
            for resource in names.CHILDREN
            if resource not in names.READ_ONLY + names.OPTIONAL
            for item in self.api.list(resource, self.namespace)
            if item["metadata"].get("labels", {}).get(names.MANAGED_BY_LABEL) == names.MANAGED_BY
        ]

    def children(self) -> dict[tuple[str, str], str]:
        """(kind, name) → resourceVersion of everything the operator writes."""
        return {
            (item["kind"], item["metadata"]["name"]): item["metadata"]["resourceVersion"]
            for item in self.written_children()
        }

    def contents(self) -> list[Json]:
        """Everything the operator writes, without resourceVersions."""
        return [
            item | {"metadata": {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}}
            for item in self.written_children()
        ]

    def writes(self, by: str = "") -> list[str]:
        """The operator's writes in this namespace, as ``patch services/ccl``; ``by``: of this pod alone."""
        return [
            words(event)
            for event in self.written.events()
            if event["objectRef"].get("namespace") == self.namespace
            and event["userAgent"].startswith(f"ccl-operator/{by}")
        ]

    def leader(self) -> str:
        """The pod that holds the Lease; empty when none does."""
        lease = self.api.find(rbac.LEASE, self.namespace, "ccl-operator") or {"spec": {}}
        return str(lease["spec"].get("holderIdentity", "")).partition("_")[0]

    def monitor_token(self, name: str = "ccl") -> str:
        """What the pods would be asked with."""
        secret = self.api.find(names.SECRET, self.namespace, names.monitor(name))
        return base64.b64decode(secret["data"]["token"]).decode() if secret else ""

    def key_files(self, name: str = "ccl") -> dict[str, KeyFile]:
        """The generated keys as the pods mount them, by file; empty while there are none."""
        secret = self.api.find(names.SECRET, self.namespace, names.keys(name)) or {}
        found = {file: base64.b64decode(value).decode() for file, value in (secret.get("data") or {}).items()}
        return {file: parse_key_file(text) for file, text in sorted(found.items()) if file.endswith(".json")}

    def key_ids(self) -> Json:
        """What a pod tells of them."""
        files = self.key_files()
        told = {"internal_api": INTERNAL_API, "jwt": JWT, "session": SESSION}
        return {field: list(files[file].ids) for field, file in told.items() if file in files}


@pytest.fixture
def make_place(
    server: ApiServer, api: KubernetesApi, written: Written, tmp_path: Path, _numbers: Iterator[int]
) -> Iterator[Callable[[], Place]]:
    """Makes fresh namespaces with the operator's role in them."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(_place(server, api, written, tmp_path, next(_numbers)))


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    """A fresh namespace with the operator's role in it."""
    return make_place()


@contextmanager
def _place(server: ApiServer, api: KubernetesApi, written: Written, tmp_path: Path, number: int) -> Iterator[Place]:
    namespace = f"test-{number}"
    folder = tmp_path / namespace
    folder.mkdir()
    api.create(NAMESPACE, None, {"metadata": {"name": namespace}})
    grant(api, namespace, rbac.rules())
    # Of this process alone: the port is fixed, and somebody else may run the same tests.
    network = f"127.{64 + (os.getpid() + number // 250) % 128}.{1 + number % 250}"
    addresses = (f"{network}.{pod}" for pod in range(1, 255))
    found = Place(server, api, namespace, ByHand(api, namespace, addresses), folder, written)
    found.hand.token, found.hand.keys = found.monitor_token, found.key_ids
    try:
        yield found
    finally:
        for process in found.processes:
            process.kill()
        found.hand.close()
        for log in sorted(folder.glob("*.log")):
            # Shown when the test fails.
            print(f"{log.name}:\n{log.read_text()[-20_000:]}")


def grant(api: KubernetesApi, namespace: str, rules: list[dict[str, Any]]) -> None:
    """Bind these rules, in this namespace, to the operator's ServiceAccount."""
    for manifest in rbac.manifests([namespace], name="ccl-operator", service_account_namespace=OPERATOR_NAMESPACE):
        if manifest["metadata"]["name"] == "ccl-operator":
            api.create(ROLES[manifest["kind"]], namespace, manifest | ({"rules": rules} if "rules" in manifest else {}))
        else:
            # In a cluster the Lease is beside the operator; here every test has its own.
            api.create(ROLES[manifest["kind"]], namespace, {**manifest, "metadata": {"name": "ccl-operator-lease"}})
