"""Pod parts that several kinds share, all within the Pod Security profile ``restricted``. Pure.

Source: kubernetes.io, "Pod Security Standards".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ccl_operator import names
from ccl_operator.api.workload import Template
from ccl_operator.environment import FIELDS, KEYS_PATH, MONITOR_PATH, PORT

#: The user of our images.
SERVICE_USER: Final = 10001
#: The user of the database images.
DATABASE_USER: Final = 999
#: 0440: readable for the pod's group, which fsGroup sets.
SECRET_MODE: Final = 0o440


def pod_security(user: int) -> dict[str, Any]:
    """Security context of a pod whose processes run as ``user`` and whose volumes belong to that group."""
    return {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container(name: str, image: str, **parts: Any) -> dict[str, Any]:
    """A container without privileges and with a read-only root; /tmp is the volume ``tmp``."""
    mounts = [{"name": "tmp", "mountPath": "/tmp"}, *parts.pop("mounts", ())]  # noqa: S108 - a mount of its own
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **parts,
    }


def pod(
    user: int, containers: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]] = (), **parts: Any
) -> dict[str, Any]:
    """A pod spec without a ServiceAccount token."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": pod_security(user),
        "containers": [dict(each) for each in containers],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *(dict(each) for each in volumes)],
        **parts,
    }


def template(labels: Mapping[str, str], spec: Mapping[str, Any], more: Template) -> dict[str, Any]:
    """Pod template with what the specification adds to it; ``labels`` are the operator's own and win."""
    metadata: dict[str, Any] = {"labels": {**dict(sorted(more.labels.items())), **labels}}
    if more.annotations:
        metadata["annotations"] = dict(sorted(more.annotations.items()))
    return {"metadata": metadata, "spec": {**spec, **placement(more)}}


def placement(wanted: Template) -> dict[str, Any]:
    """On which nodes the pods may run, and before whom; no field for what is not asked for."""
    parts = {
        "nodeSelector": dict(sorted(wanted.node_selector.items())),
        "tolerations": [each.model_dump(by_alias=True, exclude_none=True) for each in wanted.tolerations],
        "priorityClassName": wanted.priority_class_name,
    }
    return {name: value for name, value in parts.items() if value}


def spread(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """Over nodes and over zones, as far as there are any: a pod rather stands beside another than nowhere."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(labels)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
    ]


def identity(instance: str, pulls: Sequence[str]) -> dict[str, Any]:
    """ServiceAccount, and Secrets for pulling images; no field when there is none."""
    return {"serviceAccountName": names.service_account(instance), **pulling(pulls)}


def pulling(pulls: Sequence[str]) -> dict[str, Any]:
    """Only the Secrets for pulling images."""
    return {"imagePullSecrets": [{"name": name} for name in pulls]} if pulls else {}


def service_environment(instance: str, revision: str, extra: Mapping[str, str]) -> dict[str, Any]:
    """``envFrom`` and ``env`` of a service container. The API version of a field is said, because the field reference
    is compared as a whole and the API server fills it in."""
    fields = [
        {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
        for name, path in FIELDS.items()
    ]
    return {
        "envFrom": [
            {"configMapRef": {"name": names.env(instance, revision)}},
            {"secretRef": {"name": names.ext(instance, revision)}},
        ],
        "env": [*fields, *({"name": name, "value": value} for name, value in extra.items())],
    }


def key_mounts() -> list[dict[str, Any]]:
    """Where the generated keys and the monitoring token are mounted: whole Secrets, so that changes arrive."""
    return [
        {"name": "keys", "mountPath": KEYS_PATH, "readOnly": True},
        {"name": "monitor", "mountPath": MONITOR_PATH, "readOnly": True},
    ]


def key_volumes(instance: str) -> list[dict[str, Any]]:
    """The volumes of ``key_mounts``."""
    return [
        {"name": "keys", "secret": {"secretName": names.keys(instance), "defaultMode": SECRET_MODE}},
        {"name": "monitor", "secret": {"secretName": names.monitor(instance), "defaultMode": SECRET_MODE}},
    ]


def http_port() -> list[dict[str, Any]]:
    """The service's port, named ``http``."""
    return [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]


def http_probe(path: str, *, period: int, failures: int, timeout: int = 2) -> dict[str, Any]:
    """A probe of the service; ``period`` and ``timeout`` in seconds."""
    return {
        "httpGet": {"path": path, "port": "http", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }
