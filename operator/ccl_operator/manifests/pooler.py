"""PgBouncer between the service and its database: configuration, Deployment, Service, budget. Pure.

Clients sign in with an account of the pooler's own, so that a new password of the database changes one line of the
configuration and no client. Every database server has a name of its own at the pooler: revisions on the same server
share its connections, and a revision on another server reaches that one only. The image takes a changed configuration
up without a restart. Whether the server has enough connections is ``pooling``'s business. Source of the options:
pgbouncer.org, "Configuration".
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ccl_contract.urls import ServerUrl
from ccl_operator import names
from ccl_operator.api.v1alpha1 import Pooler
from ccl_operator.manifests import pods
from ccl_operator.manifests.meta import Target, child, encoded

PORT: Final = 6432
METRICS_PORT: Final = 9127
#: First part of the name of the service's account at the pooler, and of the databases.
CLIENT: Final = "ccl"
DATABASE: Final = "ccl"
#: The exporter's account, which may only read statistics.
STATS: Final = "ccl_stats"
#: asyncpg keeps 100 statements for each connection; the pooler remembers them for all of them.
PREPARED_STATEMENTS: Final = 500
GRACE_SECONDS: Final = 60
#: Pods more than wanted, while a new version of the pods is rolled out.
SURGE: Final = 1
#: What PgBouncer knows of TLS towards the server.
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FOLDER: Final = "/etc/pgbouncer"
_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class Route:
    """A way through the pooler: how ``client`` signs in and calls the database, and the ``server`` behind it."""

    client: ServerUrl
    server: ServerUrl


def unfit(server: ServerUrl) -> str:
    """Why a database cannot be behind the pooler, as what its URL must be; empty when it can."""
    if len(server.servers) > 1:
        return "must name one server behind database.pooler"
    if not server.user:
        return "must name its user behind database.pooler"
    if not server.parameters.keys() <= {"sslmode", "host", "port"}:
        return "must have no parameter but sslmode behind database.pooler, which cannot honour another"
    if server.parameters.get("sslmode", SSL_MODES[0]) not in SSL_MODES:
        return f"must have one of {', '.join(SSL_MODES)} as sslmode behind database.pooler"
    if not all(text.isprintable() for text in (server.user, server.password, server.path, server.servers[0].host)):
        return "must have no control characters behind database.pooler"
    return ""


def password(hash_key: str, user: str) -> str:
    """The password of ``user`` at the pooler: derived, so that nothing has to be kept and a lost Secret comes back."""
    drawn = _mac(hash_key, "pgbouncer", user)
    return base64.urlsafe_b64encode(drawn).decode().rstrip("=")


def host(target: Target) -> str:
    """Where clients find the pooler."""
    return f"{names.pgbouncer(target.instance)}.{target.namespace}.svc"


def client_url(target: Target, hash_key: str, server: ServerUrl) -> str:
    """The URL that the service uses for this server. Within the namespace it goes without TLS.

    The account changes with the key: if that is lost, the pods with the old password still have theirs.
    """
    account = f"{CLIENT}_{_short(hash_key, 'account')}"
    place = server.servers[0]
    database = f"{DATABASE}_{_short(hash_key, place.host, str(_port(server)), _database(server), server.user)}"
    return f"postgresql://{account}:{password(hash_key, account)}@{host(target)}:{PORT}/{database}"


def is_client_url(target: Target, url: str) -> bool:
    """Whether a URL leads to the pooler; nobody but ``client_url`` makes one that does."""
    return url.rpartition("@")[2].startswith(f"{host(target)}:{PORT}/")


def configuration(wanted: Pooler, routes: Sequence[Route]) -> str:
    """pgbouncer.ini. PgBouncer has one TLS mode for all servers: that of the first route."""
    entries = {route.client.path: _entry(route.server) for route in reversed(routes)}
    databases = "\n".join(f"{name} = {entry}" for name, entry in sorted(entries.items()))
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
        "server_tls_sslmode": routes[0].server.parameters.get("sslmode", "prefer"),
        "server_tls_ca_file": _AUTHORITIES,
        "tcp_keepalive": "1",
        # A request never waits longer for its connection than this; the service itself gives up earlier.
        "query_wait_timeout": "30",
        "server_idle_timeout": "300",
        # So long, in seconds, everybody is refused after a failed sign-in; a password that is new should count at once.
        "server_login_retry": "2",
        "log_connections": "0",
        "log_disconnections": "0",
    }
    lines = "\n".join(f"{name} = {value}".rstrip() for name, value in options.items())
    return f"[databases]\n{databases}\n\n[pgbouncer]\n{lines}\n"


def secret(target: Target, wanted: Pooler, routes: Sequence[Route], hash_key: str) -> dict[str, Any]:
    """What the pods mount: the configuration, the accounts, and whether to hold all queries."""
    accounts = {route.client.user: route.client.password for route in routes}
    accounts[STATS] = password(hash_key, STATS)
    local = f"postgresql://{STATS}:{accounts[STATS]}@127.0.0.1:{PORT}/pgbouncer?sslmode=disable"
    files = {
        "pgbouncer.ini": configuration(wanted, routes),
        "userlist.txt": "".join(f'"{user}" "{secret}"\n' for user, secret in sorted(accounts.items())),
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
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": SURGE}},
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


def _entry(server: ServerUrl) -> str:
    target = {
        "host": server.servers[0].host,
        "port": str(_port(server)),
        "dbname": _database(server),
        "user": server.user,
        "password": server.password,
    }
    return " ".join(f"{key}={_quoted(value)}" for key, value in target.items() if value)


def _port(server: ServerUrl) -> int:
    return server.servers[0].port or 5432


def _database(server: ServerUrl) -> str:
    return server.path or server.user


def _mac(hash_key: str, *parts: str) -> bytes:
    return hmac.new(hash_key.encode(), ":".join(parts).encode(), hashlib.sha256).digest()


def _short(hash_key: str, *parts: str) -> str:
    """A name that says nothing of what it stands for."""
    return _mac(hash_key, "pgbouncer", *parts).hex()[:10]


def _quoted(value: str) -> str:
    """A value of a connection string: in single quotes, which are doubled inside."""
    return "'" + value.replace("'", "''") + "'"


def _tcp_probe(*, period: int) -> dict[str, Any]:
    return {"tcpSocket": {"port": "pgbouncer"}, "periodSeconds": period, "timeoutSeconds": 2, "failureThreshold": 3}
