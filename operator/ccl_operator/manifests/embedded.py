"""The embedded PostgreSQL and Redis: a StatefulSet and a Service each. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from ccl_operator import names
from ccl_operator.api.v1alpha1 import EmbeddedDatabase, EmbeddedRedis
from ccl_operator.api.values import canonical_bytes
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child

POSTGRES_PORT: Final = 5432
REDIS_PORT: Final = 6379
MAX_CONNECTIONS: Final = 300
_DATA: Final = "/var/lib/postgresql/data"
#: Redis holds only counters that can be lost, so it writes nothing and forgets the oldest when it is full.
_REDIS_OPTIONS: Final = (
    *("--port", str(REDIS_PORT), "--protected-mode", "no", "--save", "", "--appendonly", "no"),
    *("--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru", "--dir", "/tmp"),  # noqa: S108 - a mount of its own
)


def postgres(target: Target, wanted: EmbeddedDatabase, image: str) -> dict[str, Any]:
    """StatefulSet of one PostgreSQL; its volume outlives it."""
    secret = names.postgres(target.instance)
    account = {"POSTGRES_USER": "username", "POSTGRES_PASSWORD": "password", "POSTGRES_DB": "database"}
    container = pods.container(
        "postgres",
        image,
        args=["postgres", "-c", f"max_connections={MAX_CONNECTIONS}"],
        env=[
            *(
                {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
                for name, key in account.items()
            ),
            # A folder below the mount: a fresh volume may hold lost+found, which initdb refuses.
            {"name": "PGDATA", "value": f"{_DATA}/pgdata"},
        ],
        ports=[{"name": "postgres", "containerPort": POSTGRES_PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "100m", "memory": "256Mi"}},
        mounts=[{"name": "data", "mountPath": _DATA}, {"name": "run", "mountPath": "/var/run/postgresql"}],
        # Over TCP: while the files are made, the first start listens on its socket only.
        readinessProbe={
            "exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1", "-p", str(POSTGRES_PORT)]},
            "periodSeconds": 2,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
    )
    spec = pods.pod(
        pods.DATABASE_USER,
        [container],
        [{"name": "run", "emptyDir": {}}],
        # A shutdown with its checkpoint may take a while; killed, it would recover from the log instead.
        terminationGracePeriodSeconds=60,
        **pods.pulling(target.pulls),
    )
    parts: dict[str, Any] = {
        "volumeClaimTemplates": [_volume_claim_template(target, wanted)],
        "persistentVolumeClaimRetentionPolicy": {
            "whenDeleted": "Retain" if target.keep else "Delete",
            "whenScaled": "Retain",
        },
    }
    template = pods.template(names.labels(target.instance, names.POSTGRES), spec, wanted.template)
    return _stateful_set(target, names.POSTGRES, names.postgres(target.instance), template, parts)


def redis(target: Target, wanted: EmbeddedRedis, image: str) -> dict[str, Any]:
    """StatefulSet of one Redis without a volume."""
    container = pods.container(
        "redis",
        image,
        command=["valkey-server", *_REDIS_OPTIONS],
        ports=[{"name": "redis", "containerPort": REDIS_PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "192Mi"}},
        readinessProbe={"tcpSocket": {"port": "redis"}, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3},
    )
    spec = pods.pod(pods.DATABASE_USER, [container], **pods.pulling(target.pulls))
    template = pods.template(names.labels(target.instance, names.REDIS), spec, wanted.template)
    return _stateful_set(target, names.REDIS, names.redis(target.instance), template, {})


def service(target: Target, component: str) -> dict[str, Any]:
    """Service in front of ``postgres`` or ``redis``."""
    name, port = {
        names.POSTGRES: (names.postgres(target.instance), POSTGRES_PORT),
        names.REDIS: (names.redis(target.instance), REDIS_PORT),
    }[component]
    body = {
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(target.instance, component),
            "ports": [{"name": component, "port": port, "targetPort": component, "protocol": "TCP"}],
        }
    }
    return child(names.SERVICE, target, name, body, component=component)


def postgres_url(target: Target, *, username: str, password: str, database: str) -> str:
    """URL of the embedded database inside the cluster. The password is URL-safe by construction."""
    host = f"{names.postgres(target.instance)}.{target.namespace}.svc"
    return f"postgresql://{username}:{password}@{host}:{POSTGRES_PORT}/{database}"


def redis_url(target: Target) -> str:
    """URL of the embedded Redis inside the cluster."""
    return f"redis://{names.redis(target.instance)}.{target.namespace}.svc:{REDIS_PORT}/0"


def _stateful_set(
    target: Target, component: str, name: str, template: Mapping[str, Any], parts: Mapping[str, Any]
) -> dict[str, Any]:
    body = {
        "spec": {
            "replicas": 1,
            "serviceName": name,
            "selector": {"matchLabels": names.selector(target.instance, component)},
            "template": template,
            **parts,
        }
    }
    return child(names.STATEFUL_SET, target, name, body, component=component)


def _volume_claim_template(target: Target, wanted: EmbeddedDatabase) -> dict[str, Any]:
    """Exactly as the API server stores it: the list is compared as a whole, defaults included."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data",
            "labels": {
                **names.labels(target.instance, names.POSTGRES),
                names.POSTGRES_VERSION_LABEL: str(wanted.version),
            },
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": canonical_bytes(wanted.storage)}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    }
