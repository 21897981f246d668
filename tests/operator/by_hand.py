"""What controllers and kubelet do, done by the tests on an API server that has neither: pods, statuses, endpoints.

Every web and jobs pod gets a loopback address of its own on which a small HTTP server answers the readiness question.
"""

import itertools
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from ccl_operator import names
from ccl_operator.actions import Resource
from ccl_operator.environment import PORT
from tests.operator.kubernetes_api import ApiAnswer, Json, KubernetesApi

DATABASE: Final = {"version_num": 170004, "max_connections": 300}
SCHEMA: Final = {"own": 1, "epoch": 1, "min_compatible": 1}
MIGRATION: Final = {"v": 1, **SCHEMA, "pending": [], "database": DATABASE}

#: revision → checks of the readiness report
Checks = Callable[[str], list[Mapping[str, str]]]


def passes(_: str) -> list[Mapping[str, str]]:
    """Every revision is fine."""
    return [{"id": "DatabaseReachable", "status": "pass"}]


class Gate:
    """Answers the readiness question of one pod. ``keys``: the ids of the keys that it holds."""

    def __init__(
        self, address: str, revision: str, checks: Checks, token: Callable[[], str], keys: Callable[[], Json]
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                allowed = self.headers["Authorization"] == f"Bearer {token()}"
                report = {"v": 1, "status": "pass", "revision": revision, "version": "1.0"}
                report |= {"schema": SCHEMA, "database": DATABASE, "checks": checks(revision), "keys": keys()}
                body = json.dumps(report if allowed else {}).encode()
                self.send_response(200 if allowed else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer((address, PORT), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ByHand:
    """Everything in one namespace. ``addresses`` gives a fresh loopback address each time."""

    def __init__(self, api: KubernetesApi, namespace: str, addresses: Iterator[str]) -> None:
        self._api, self._namespace, self._addresses = api, namespace, addresses
        self._gates: dict[str, Gate] = {}
        self._numbers = itertools.count()
        self.checks: Checks = passes
        self.token: Callable[[], str] = lambda: ""
        self.keys: Callable[[], Json] = dict

    def close(self) -> None:
        """Stop all gates."""
        for gate in self._gates.values():
            gate.close()

    def step(self) -> None:
        """Do once what all controllers would do now."""
        for stateful_set in self._list(names.STATEFUL_SET):
            self._workload_status(names.STATEFUL_SET, stateful_set, stateful_set["spec"]["replicas"])
        for job in self._list(names.JOB):
            self._finish(job)
        for deployment in self._list(names.DEPLOYMENT):
            self._scale(deployment)
        self._collect_pods()
        for service in self._list(names.SERVICE):
            self._endpoints(service)

    def _collect_pods(self) -> None:
        """Pods go with what made them, as the garbage collector sees to."""
        makers = {each["metadata"]["uid"] for kind in (names.DEPLOYMENT, names.JOB) for each in self._list(kind)}
        for pod in self._list(names.POD):
            if not any(owner["uid"] in makers for owner in pod["metadata"].get("ownerReferences", ())):
                self._api.delete(names.POD, self._namespace, pod["metadata"]["name"])

    def _list(self, resource: Resource) -> list[Json]:
        return self._api.list(resource, self._namespace)

    def _pods(self, selector: Mapping[str, str]) -> list[Json]:
        return [pod for pod in self._list(names.POD) if selector.items() <= pod["metadata"]["labels"].items()]

    def _scale(self, deployment: Json) -> None:
        wanted = deployment["spec"]["replicas"]
        pods = self._pods(deployment["spec"]["selector"]["matchLabels"])
        for pod in pods[wanted:]:
            self._api.delete(names.POD, self._namespace, pod["metadata"]["name"])
        for _ in range(wanted - len(pods)):
            self._start_pod(deployment)
        self._workload_status(names.DEPLOYMENT, deployment, wanted)

    def _workload_status(self, resource: Resource, workload: Json, replicas: int) -> None:
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), replicas)
        self._status(resource, workload, {"observedGeneration": workload["metadata"]["generation"], **counts})

    def _start_pod(self, owner: Json) -> Json:
        template = owner["spec"]["template"]
        pod = self._create_pod(owner, template)
        address = next(self._addresses)
        labels = template["metadata"]["labels"]
        if labels[names.COMPONENT_LABEL] in {names.WEB, names.JOBS}:
            revision = labels[names.REVISION_LABEL]
            self._gates[address] = Gate(address, revision, self._checks_now, self.token, self.keys)
        since = (datetime.now(UTC) - timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {
            "phase": "Running",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}],
        }
        return self._status(names.POD, pod, status)

    def _checks_now(self, revision: str) -> list[Mapping[str, str]]:
        """Of the moment: a test may change its mind while the pods run."""
        return self.checks(revision)

    def _create_pod(self, owner: Json, template: Json) -> Json:
        reference = {key: owner[key] for key in ("apiVersion", "kind")}
        reference |= {key: owner["metadata"][key] for key in ("name", "uid")}
        metadata = {
            "name": f"{owner['metadata']['name']}-{next(self._numbers)}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [reference],
        }
        return self._api.create(names.POD, self._namespace, {"metadata": metadata, "spec": template["spec"]})

    def _finish(self, job: Json) -> None:
        if (job.get("status") or {}).get("conditions"):
            return
        pod = self._create_pod(job, job["spec"]["template"])
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"exitCode": 0, "startedAt": now, "finishedAt": now, "message": json.dumps(MIGRATION)}
        container = {
            "name": "migrate",
            "image": "x",
            "imageID": "x",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        self._status(names.POD, pod, {"phase": "Succeeded", "containerStatuses": [container]})
        conditions = [{"type": kind, "status": "True"} for kind in ("SuccessCriteriaMet", "Complete")]
        self._status(
            names.JOB,
            job,
            {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions},
        )

    def _endpoints(self, service: Json) -> None:
        selector = service["spec"].get("selector")
        if not selector:
            return
        pods = [pod for pod in self._pods(selector) if pod.get("status", {}).get("podIP")]
        endpoints = [
            {
                "addresses": [pod["status"]["podIP"].replace("127.", "10.")],
                "conditions": {"ready": True},
                "targetRef": {"kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]},
            }
            for pod in pods
        ]
        name = service["metadata"]["name"]
        found = self._api.find(names.ENDPOINT_SLICE, self._namespace, name)
        if found is None:
            labels = service["metadata"]["labels"] | {names.SERVICE_NAME_LABEL: name}
            metadata = {"name": name, "labels": labels}
            body = {"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints}
            self._api.create(names.ENDPOINT_SLICE, self._namespace, body)
        elif [each["targetRef"]["uid"] for each in found.get("endpoints") or ()] != [
            each["targetRef"]["uid"] for each in endpoints
        ]:
            self._api.patch(names.ENDPOINT_SLICE, self._namespace, name, {"endpoints": endpoints})

    def _status(self, resource: Resource, manifest: Json, status: Json) -> Json:
        present = manifest.get("status") or {}
        if status.items() <= present.items():
            return manifest
        name = manifest["metadata"]["name"]
        try:
            return self._api.patch(resource, self._namespace, name, {"status": status}, "status")
        except ApiAnswer as gone:
            # The operator may delete what was listed a moment ago, as real controllers see it too.
            if gone.status != 404:
                raise
            return manifest
