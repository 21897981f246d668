"""PgBouncer between the service and its database: configuration, Deployment, Service, budget. Pure.

Clients sign in as ``CLIENT`` with a password of the pooler's own, so that a new password of the database changes one
line of the configuration and no client. The image takes a changed configuration up without a restart. Whether the
server has enough connections is ``pooling``'s business. Source of the options: pgbouncer.org, "Configuration".
"""

import base64
import hashlib
import hmac
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from ccl_operator import names
from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child, encoded

PORT: Final = 6432
METRICS_PORT: Final = 9127
#: The service's account at the pooler, and the exporter's, which may only read statistics.
CLIENT: Final = "ccl"
#: What clients call the database, whatever its name at the server.
DATABASE: Final = "ccl"
STATS: Final = "ccl_stats"
#: asyncpg keeps 100 statements for each connection; the pooler remembers them for all of them.
PREPARED_STATEMENTS: Final = 500
GRACE_SECONDS: Final = 60
_FOLDER: Final = "/etc/pgbouncer"
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"


def password(hash_key: str, user: str) -> str:
    """The password of ``user`` at the pooler: derived, so that nothing has to be kept and a lost Secret comes back."""
    drawn = hmac.new(hash_key.encode(), f"pgbouncer:{user}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(drawn).decode().rstrip("=")


def client_url(target: Target, hash_key: str) -> str:
    """The URL that the service uses. Within the namespace it goes without TLS."""
    host = f"{names.pgbouncer(target.instance)}.{target.namespace}.svc"
    return f"postgresql://{CLIENT}:{password(hash_key, CLIENT)}@{host}:{PORT}/{DATABASE}"


def configuration(wanted: Pooler, server_url: str) -> str:
    """pgbouncer.ini."""
    server = urlsplit(server_url)
    target = {
        "host": server.hostname or "localhost",
        "port": str(server.port or 5432),
        "dbname": _database(server_url),
        "user": unquote(server.username or ""),
        "password": unquote(server.password or ""),
    }
    entry = " ".join(f"{key}={_quoted(value)}" for key, value in target.items() if value)
    options = {
        "listen_addr": "*",
        "listen_port": str(PORT),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": f"{_FOLDER}/userlist.txt",
        "stats_users": STATS,
        "pool_mode": wanted.mode,
        "max_client_conn": str(wanted.max_client_connections),
        "default_pool_size": str(wanted.pool_size),
        "max_prepared_statements": str(PREPARED_STATEMENTS),
        # Parameters of the start packet that drivers send and a pooled connection cannot follow.
        "ignore_startup_parameters": "extra_float_digits,jit,options,search_path",
        "server_tls_sslmode": parse_qs(server.query).get("sslmode", ["prefer"])[0],
        "server_tls_ca_file": _AUTHORITIES,
        "tcp_keepalive": "1",
        # A request never waits longer for its connection than this; the service itself gives up earlier.
        "query_wait_timeout": "30",
        "server_idle_timeout": "300",
        "log_connections": "0",
        "log_disconnections": "0",
    }
    lines = "\n".join(f"{name} = {value}".rstrip() for name, value in options.items())
    return f"[databases]\n{DATABASE} = {entry}\n\n[pgbouncer]\n{lines}\n"


def secret(target: Target, wanted: Pooler, server_url: str, hash_key: str) -> dict[str, Any]:
    """What the pods mount: the configuration, the accounts, and whether to hold all queries."""
    accounts = "".join(f'"{user}" "{password(hash_key, user)}"\n' for user in (CLIENT, STATS))
    local = f"postgresql://{STATS}:{password(hash_key, STATS)}@127.0.0.1:{PORT}/pgbouncer?sslmode=disable"
    files = {
        "pgbouncer.ini": configuration(wanted, server_url),
        "userlist.txt": accounts,
        "paused": "true" if wanted.paused else "false",
        "stats-url": local,
    }
    name = names.pgbouncer(target.instance)
    return child(names.SECRET, target, name, {"type": "Opaque", "data": encoded(files)}, component=names.PGBOUNCER)


def deployment(target: Target, wanted: Pooler, image: str) -> dict[str, Any]:
    """The pods: PgBouncer, and beside it the exporter of its statistics."""
    name = names.pgbouncer(target.instance)
    server = pods.container(
        "pgbouncer",
        image,
        ports=[{"name": "pgbouncer", "containerPort": PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "100m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        mounts=[{"name": "config", "mountPath": _FOLDER, "readOnly": True}],
        # It accepts connections while the database is away or it is paused: restarting it would mend neither.
        readinessProbe=_tcp_probe(period=2),
        livenessProbe=_tcp_probe(period=10),
    )
    address = {"secretKeyRef": {"name": name, "key": "stats-url"}}
    exporter = pods.container(
        "exporter",
        image,
        command=["sh", "-c", f"exec prometheus-pgbouncer-exporter --web.listen-address=:{METRICS_PORT}"],
        env=[{"name": "PGBOUNCER_EXPORTER_CONNECTION_STRING", "valueFrom": address}],
        ports=[{"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        resources={"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
    )
    spec = pods.pod(
        pods.SERVICE_USER,
        [server, exporter],
        [{"name": "config", "secret": {"secretName": name, "defaultMode": pods.SECRET_MODE}}],
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=pods.spread(names.selector(target.instance, names.PGBOUNCER)),
        **pods.pulling(target.pulls),
    )
    body = {
        "spec": {
            "replicas": wanted.replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": names.selector(target.instance, names.PGBOUNCER)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": pods.template(names.labels(target.instance, names.PGBOUNCER), spec, wanted.template),
        }
    }
    return child(names.DEPLOYMENT, target, name, body, component=names.PGBOUNCER)


def service(target: Target) -> dict[str, Any]:
    """Service in front of the pods."""
    ports = [
        {"name": "pgbouncer", "port": PORT, "targetPort": "pgbouncer", "protocol": "TCP"},
        {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"},
    ]
    body = {
        "spec": {
            "type": "ClusterIP",
            "selector": names.selector(target.instance, names.PGBOUNCER),
            "ports": ports,
        }
    }
    return child(names.SERVICE, target, names.pgbouncer(target.instance), body, component=names.PGBOUNCER)


def disruption_budget(target: Target, wanted: Pooler) -> dict[str, Any] | None:
    """Let one pod be away at a time; None below 2 replicas, where it would only block node drains."""
    if wanted.replicas < 2:
        return None
    body = {
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": names.selector(target.instance, names.PGBOUNCER)},
        }
    }
    name = names.pgbouncer(target.instance)
    return child(names.DISRUPTION_BUDGET, target, name, body, component=names.PGBOUNCER)


def _database(url: str) -> str:
    parts = urlsplit(url)
    return unquote(parts.path.lstrip("/")) or unquote(parts.username or "")


def _quoted(value: str) -> str:
    """A value of a connection string: in single quotes, which are doubled inside."""
    return "'" + value.replace("'", "''") + "'"


def _tcp_probe(*, period: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": "pgbouncer"}, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": 3}
