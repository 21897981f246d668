"""The environment of a service container, as plain variables. Pure; ``manifests`` decides which object carries them.

``VARIABLES`` come from the ConfigMap of the revision, ``EXTERNAL`` from its copy of the referenced Secrets, ``FIELDS``
from the pod itself.
"""

from collections.abc import Mapping
from typing import Final

from ccl_contract import keys as key_files
from ccl_operator.api.v1alpha1 import Http, Spec
from ccl_operator.api.values import milliseconds, whole_bytes

PORT: Final = 5000
KEYS_PATH: Final = "/run/ccl/keys"
MONITOR_PATH: Final = "/run/ccl/monitor"
MONITOR_TOKEN: Final = "token"  # noqa: S105 - the name of a key in a Secret

#: Key variable → file of the generated key.
KEY_FILES: Final[Mapping[str, str]] = {
    "INTERNAL_API_KEY": key_files.INTERNAL_API,
    "JWT_SECRET": key_files.JWT,
    "SESSION_SECRET": key_files.SESSION,
}
EXTERNAL: Final = (
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "DATABASE_REPLICA_URLS",
    "REDIS_URL",
    *KEY_FILES,
    "MAILGUN_API_KEY",
    "MAILGUN_WEBHOOK_SIGNING_KEY",
    "OPENAI_API_KEY",
    "SENTRY_DSN",
)
#: In a revision's copy of the referenced values: the URL of the server behind the pooler. The pods only carry it.
POOLED_SERVER: Final = "PGBOUNCER_SERVER_URL"
FIELDS: Final[Mapping[str, str]] = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace"}
VARIABLES: Final = (
    "BODY_LIMIT_BYTES",
    "CCL_ENV",
    "CCL_REVISION",
    "CCL_DEPLOYMENT_ID",
    "CORS_ORIGIN",
    "DB_CONNECT_TIMEOUT_MS",
    "DB_IDLE_TIMEOUT_MS",
    "DB_POOL_SIZE",
    "MAILGUN_BASE_URL",
    "MAILGUN_DOMAIN",
    "MAIL_FROM",
    "MAIL_POSTAL_ADDRESS",
    "MONITOR_KEY_FILE",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OUTBOUND_ALLOWLIST",
    "PORT",
    "PUBLIC_BASE_URL",
    "RATE_LIMIT_MAX_REQUESTS",
    "RATE_LIMIT_WINDOW_MS",
    "TRUST_PROXY",
)
#: Names that ``extraEnv`` may not set: rendered ones, their file variants, and the alias of CCL_ENV.
RENDERED: Final[frozenset[str]] = frozenset(
    {*EXTERNAL, *(f"{name}_FILE" for name in EXTERNAL), *FIELDS, *VARIABLES, "MONITOR_KEY", "NODE_ENV"}
)
#: Of these, names that ``extraEnv`` may set as long as the specification does not give the value itself.
EITHER: Final[frozenset[str]] = frozenset({"SENTRY_DSN", "SENTRY_DSN_FILE", "OTEL_EXPORTER_OTLP_ENDPOINT"})


def render(spec: Spec, *, revision: str, deployment_id: str) -> dict[str, str]:
    """The variables of one revision, sorted by name; one that has no value is left out."""
    values: dict[str, str | None] = {
        "CCL_ENV": spec.environment,
        "CCL_REVISION": revision,
        "CCL_DEPLOYMENT_ID": deployment_id,
        "MONITOR_KEY_FILE": f"{MONITOR_PATH}/{MONITOR_TOKEN}",
        "PORT": str(PORT),
        "DB_POOL_SIZE": str(spec.database.pool.size),
        "DB_IDLE_TIMEOUT_MS": str(milliseconds(spec.database.pool.idle_timeout)),
        "DB_CONNECT_TIMEOUT_MS": str(milliseconds(spec.database.pool.connect_timeout)),
        "MAIL_FROM": spec.mail.from_,
        "MAIL_POSTAL_ADDRESS": spec.mail.postal_address,
        "OTEL_EXPORTER_OTLP_ENDPOINT": spec.monitoring.otlp_endpoint if spec.monitoring else None,
        "OUTBOUND_ALLOWLIST": ",".join(spec.mail.allowlist) or None,
        **_http(spec.http),
        **_accounts(spec),
        **{f"{name}_FILE": f"{KEYS_PATH}/{KEY_FILES[name]}" for name in generated_keys(spec)},
    }
    return {name: value for name, value in sorted(values.items()) if value is not None}


def generated_keys(spec: Spec) -> tuple[str, ...]:
    """Key variables whose key the operator makes, in the order of KEY_FILES."""
    sources = {
        "INTERNAL_API_KEY": spec.secrets.internal_api_key,
        "JWT_SECRET": spec.secrets.jwt,
        "SESSION_SECRET": spec.secrets.session,
    }
    return tuple(name for name in KEY_FILES if sources[name].secret_key_ref is None)


def urls(variable: str, value: str) -> list[str]:
    """The URLs that a variable holds: one, or a list separated by commas."""
    return [each.strip() for each in value.split(",") if each.strip()] if variable.endswith("_URLS") else [value]


def _http(http: Http) -> dict[str, str | None]:
    return {
        "BODY_LIMIT_BYTES": str(whole_bytes(http.body_limit)) if http.body_limit else None,
        "CORS_ORIGIN": ",".join(http.cors_origins) or None,
        "TRUST_PROXY": _trust_proxy(http),
        "PUBLIC_BASE_URL": f"https://{http.host}" if http.host else None,
        "RATE_LIMIT_WINDOW_MS": str(http.rate_limit.window_seconds * 1000),
        "RATE_LIMIT_MAX_REQUESTS": str(http.rate_limit.max_requests),
    }


def _trust_proxy(http: Http) -> str:
    if http.trust_proxy is None:
        return "false"
    if http.trust_proxy.cidrs is not None:
        return ",".join(http.trust_proxy.cidrs)
    return str(http.trust_proxy.hops)


def _accounts(spec: Spec) -> dict[str, str | None]:
    mailgun, openai = spec.secrets.mailgun, spec.secrets.openai
    return {
        "MAILGUN_DOMAIN": mailgun.domain if mailgun else None,
        "MAILGUN_BASE_URL": mailgun.base_url if mailgun else None,
        "OPENAI_BASE_URL": openai.base_url if openai else None,
        "OPENAI_MODEL": openai.model if openai else None,
    }
