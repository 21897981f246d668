"""An operator for the same custom resource as Kopf's tutorial teaches to write one: the yardstick of the benchmark.

``on.create``, ``on.update`` and ``on.resume`` handlers in threads, the synchronous client, ``kopf.adopt``, create or
patch. Its children are of the same kinds and number as those that the operator makes before a database answers.
Run by ``kopf run --namespace NS hack/bench/operator/peer_kopf.py``.
Source: docs.kopf.dev, "Walkthrough".
"""

import copy
import secrets
from collections.abc import Mapping
from typing import Any

import kopf
import kubernetes

GROUP, VERSION, PLURAL = "ccl.completecarloans.com", "v1alpha1", "ccldeployments"

Json = dict[str, Any]


def _pod(image: str, name: str) -> Json:
    labels = {"app": name}
    return {
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}},
    }


def _service(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Service", "spec": {"selector": {"app": name}, "ports": [{"port": 80}]}}


def _stateful_set(name: str, image: str) -> Json:
    spec = {"serviceName": name, "replicas": 1, **_pod(image, name)}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "spec": spec}


def _secret() -> Json:
    return {"apiVersion": "v1", "kind": "Secret", "stringData": {"key": secrets.token_hex(32)}}


def children(name: str, spec: Mapping[str, Any]) -> dict[str, Json]:
    """Name → object."""
    job = copy.deepcopy(_pod("docker.io/library/busybox:1", f"{name}-backup"))["template"]
    job["spec"]["restartPolicy"] = "Never"
    cron = {"schedule": "0 2 * * *", "jobTemplate": {"spec": {"template": job}}}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        f"{name}-keys": _secret(),
        f"{name}-monitor": _secret(),
        f"{name}-postgres": _secret(),
        f"{name}-postgres-service": _service(f"{name}-postgres"),
        f"{name}-postgres-set": _stateful_set(f"{name}-postgres", "docker.io/library/postgres:17"),
        f"{name}-redis-service": _service(f"{name}-redis"),
        f"{name}-redis-set": _stateful_set(f"{name}-redis", "docker.io/valkey/valkey:8"),
        name: _service(f"{name}-web"),
        f"{name}-preview": _service(f"{name}-preview"),
        f"{name}-env": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"IMAGE": spec["image"]}},
        f"{name}-backups": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": claim},
        f"{name}-backup": {"apiVersion": "batch/v1", "kind": "CronJob", "spec": cron},
    }


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """No limits of its own; the tutorial sets none."""
    settings.posting.level = 30
    kubernetes.config.load_kube_config()


@kopf.on.create(GROUP, VERSION, PLURAL)
@kopf.on.resume(GROUP, VERSION, PLURAL)
def make(*, name: str, namespace: str | None, spec: Mapping[str, Any], **_: Any) -> Json:
    """Create every child."""
    client = kubernetes.dynamic.DynamicClient(kubernetes.client.ApiClient())
    for child, manifest in children(name, spec).items():
        body = {**manifest, "metadata": {"name": child}}
        kopf.adopt(body)
        api = client.resources.get(api_version=manifest["apiVersion"], kind=manifest["kind"])
        try:
            api.create(body=body, namespace=namespace)
        except kubernetes.client.exceptions.ApiException as error:
            if error.status != 409:
                raise
    return {"made": True}


@kopf.on.update(GROUP, VERSION, PLURAL, field="spec.image")
def update(*, name: str, namespace: str | None, new: Any, **_: Any) -> None:
    """Carry a new image to where it stands."""
    api = kubernetes.client.CoreV1Api()
    api.patch_namespaced_config_map(f"{name}-env", namespace, {"data": {"IMAGE": new}})
