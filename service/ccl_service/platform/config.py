"""The environment contract, read once at start.

``load_settings`` is a function of a mapping, so that a test or a tool needs no process environment. Every wrong
variable is named in one error and no value ever appears in it. A field's name in capitals is its variable; one whose
type holds ``SecretStr`` is a secret and may come from ``NAME_FILE`` instead. Which settings are weak but allowed
outside production is judged by ``platform.checks``.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ccl_contract.keys import parse_key_file, token_key
from ccl_contract.strength import MONITOR, NO_TOKEN, weaknesses
from ccl_service.platform.config_sources import (
    BOTH,
    Collected,
    Problems,
    Provenance,
    SettingSource,
    Variable,
    collect,
    read_file,
    variables,
)
from ccl_service.platform.config_types import (
    ApiKey,
    DnsServer,
    Domain,
    HttpUrl,
    Level,
    Origins,
    PostgresUrl,
    PostgresUrls,
    RedisUrl,
    SentryDsn,
    Trust,
    Words,
    at_least,
)
from ccl_service.platform.keys import KEY_VARIABLES, KeyName, KeySource
from ccl_service.platform.misspelt import misspellings
from ccl_service.platform.proxy import TrustProxy

REQUIRED_IN_PRODUCTION: Final = ("MAILGUN_API_KEY", "MAILGUN_DOMAIN", "OPENAI_API_KEY", "CORS_ORIGIN", "TRUST_PROXY")

#: Variables that need what a plain installation does not bring.
OPTIONAL_PACKAGES: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "opentelemetry", "SENTRY_DSN": "sentry_sdk"}

M = TypeVar("M", bound=BaseModel)


class SettingsError(ValueError):
    """The environment is wrong. ``problems`` maps each variable to what is wrong with it; no value appears."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        self.problems = dict(problems)
        super().__init__("wrong settings: " + "; ".join(f"{name} {why}" for name, why in self.problems.items()))


class Environment(StrEnum):
    """Where this process runs."""

    DEVELOPMENT = "development"
    STAGING = "staging"
    PRODUCTION = "production"


class DatabaseSettings(BaseModel):
    """What ``migrate`` needs. Field names are the variables in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, arbitrary_types_allowed=True)

    database_url: PostgresUrl = Field(description="PostgreSQL 14 to 17, possibly through a pooler.")
    database_direct_url: PostgresUrl | None = Field(
        default=None, description="The same database past the pooler: migrations, notifications. Default: DATABASE_URL."
    )
    database_replica_urls: PostgresUrls = Field(
        default=(), description="Comma list of read-only copies; marked reads go there while their lag is small."
    )
    db_pool_size: int = Field(default=20, ge=1, le=1000, description="Connections of this process.")
    db_idle_timeout_ms: int = Field(
        default=30_000, ge=0, description="Idle connections are closed after this time; 0: never."
    )
    db_connect_timeout_ms: Annotated[int, at_least(100)] = Field(
        default=60_000, ge=0, description="Longest time to open a connection; less than 100 counts as 100."
    )

    @property
    def direct_url(self) -> str:
        """The URL past a pooler."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class UpkeepSettings(DatabaseSettings):
    """What ``maintain`` and ``audit`` need: the database, and the key that the audit keys are derived from."""

    keys: Mapping[KeyName, KeySource] = Field(repr=False)


class Settings(DatabaseSettings):
    """The whole environment table."""

    env: Environment = Field(
        default=Environment.PRODUCTION,
        alias="ccl_env",
        description="development, staging or production; the strict rules hold in production. Also NODE_ENV.",
    )
    keys: Mapping[KeyName, KeySource] = Field(repr=False)
    provenance: Provenance = Field(default=Provenance(), repr=False)
    monitor_key_file: Path | None = Field(
        default=None,
        description="File with a token of at least 32 bytes that may read monitoring; the operator makes it.",
    )

    mailgun_api_key: ApiKey | None = Field(default=None, description="Mailgun API key, or a sending key of the domain.")
    mailgun_domain: Domain | None = Field(default=None, description="Sending domain.")
    mailgun_webhook_signing_key: SecretStr | None = Field(
        default=None, description="Key that signs delivery events; without it readiness fails."
    )
    mailgun_base_url: HttpUrl = Field(
        default="https://api.mailgun.net", description="Mailgun API; https://api.eu.mailgun.net in Europe."
    )
    mail_from: str | None = Field(
        default=None, description="Sender that people see, e.g. Cathy <cathy@mg.example.com>."
    )
    mail_postal_address: str | None = Field(
        default=None, description="Postal address in every mail; without it mail is held and readiness fails."
    )
    outbound_allowlist: Words = Field(
        default=(), description="Outside production: the addresses and @domains that may get mail; * for all."
    )
    openai_api_key: ApiKey | None = Field(
        default=None, description="Key of the language model; without it the chat answers by rules."
    )
    openai_base_url: HttpUrl = Field(
        default="https://api.openai.com/v1", description="API of OpenAI, or of one that is compatible."
    )
    openai_model: str = Field(default="gpt-4o-mini", description="Model of the chat.")

    cors_origin: Origins = Field(
        default=(), description="Comma list of the exact origins whose pages may call the API; no * in production."
    )
    trust_proxy: Trust = Field(
        default=TrustProxy(),
        description="Proxies in front: comma list of networks, or true or a number of hops; false for none.",
    )
    public_base_url: HttpUrl | None = Field(
        default=None,
        description="Address that people use; links in mail start with it. Default: the first CORS_ORIGIN.",
    )
    redis_url: RedisUrl | None = Field(
        default=None, description="Redis or Valkey that shares limits; needed with more than one web process."
    )
    sentry_dsn: SentryDsn | None = Field(default=None, description="Where errors are reported to; absent: nowhere.")
    otel_exporter_otlp_endpoint: HttpUrl | None = Field(
        default=None, description="Where spans are exported to (OTLP over HTTP); absent: nowhere."
    )
    port: int = Field(default=5000, ge=0, le=65535, description="Port that HTTP is served on.")
    log_level: Annotated[Literal["debug", "info", "warn", "error"], Level] = Field(
        default="warn", description="debug, info, warn or error."
    )
    metrics_enabled: bool = Field(default=True, description="Whether metrics are shown.")
    body_limit_bytes: int = Field(
        default=10_485_760,
        ge=1024,
        le=104_857_600,
        description="Largest JSON body; most routes take less, and uploads of files have a limit of their own.",
    )
    rate_limit_window_ms: int = Field(default=60_000, ge=1000, description="Length of the window of the request limit.")
    rate_limit_max_requests: int = Field(
        default=100, ge=1, description="Requests that one client address may make per window."
    )
    connections_per_ip: int = Field(
        default=1000,
        ge=0,
        description="Connections that one address may hold at once; 0: no cap. Trusted proxies have none.",
    )
    drain_delay_ms: int = Field(
        default=5000,
        ge=0,
        le=20_000,
        description="How long a stopping process goes on serving while load balancers take it out.",
    )

    backup_manifest_dir: Path | None = Field(
        default=None, description="Folder with <id>/manifest.json of each backup, for the check of their age."
    )
    backup_max_age_hours: int = Field(default=26, ge=1, description="Age at which the newest backup is a warning.")
    dns_server: DnsServer | None = Field(
        default=None, description="Who is asked about the mail domain's records; absent: the system's resolver."
    )

    ccl_revision: str = Field(default="", description="Revision that this process belongs to; the operator sets it.")
    ccl_deployment_id: str | None = Field(
        default=None, description="Deployment that may send mail from this database; the operator sets it."
    )
    pod_name: str = Field(default="", description="Name of this process among its equals; the operator sets it.")
    pod_namespace: str = Field(default="", description="Namespace of the pod; the operator sets it.")

    @property
    def production(self) -> bool:
        """Whether the strict rules hold."""
        return self.env is Environment.PRODUCTION

    @property
    def link_base(self) -> str | None:
        """What links in mail start with: PUBLIC_BASE_URL, else the first CORS origin."""
        return self.public_base_url or next((o for o in self.cors_origin if o != "*"), None)


def load_database_settings(environ: Mapping[str, str]) -> DatabaseSettings:
    """The database variables only. Raises SettingsError."""
    problems: Problems = {}
    found = collect(environ, variables(DatabaseSettings), problems)
    return _build(DatabaseSettings, found.values, problems)


def load_upkeep_settings(environ: Mapping[str, str]) -> UpkeepSettings:
    """The database variables and the JWT key, without the demands of production. Raises SettingsError."""
    problems: Problems = {}
    found = collect(environ, variables(DatabaseSettings), problems)
    keys = _key_sources(environ, found, problems, {KeyName.JWT: KEY_VARIABLES[KeyName.JWT]})
    return _build(UpkeepSettings, found.values | {"keys": keys}, problems)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Everything that ``serve`` reads. Raises SettingsError naming every wrong variable at once."""
    problems: Problems = {}
    wanted = variables(Settings)
    found = collect(environ, wanted, problems)
    keys = _key_sources(environ, found, problems)
    _demand_token(found.values.get("monitor_key_file"), problems)
    if found.values.get("ccl_env", Environment.PRODUCTION) == Environment.PRODUCTION:
        _demand_for_production(found, keys, problems)
    _demand_packages(found, problems)
    provenance = Provenance(found.sources, misspellings(environ, known_names(wanted)))
    return _build(Settings, found.values | {"keys": keys, "provenance": provenance}, problems)


def _demand_packages(found: Collected, problems: Problems) -> None:
    for name, package in OPTIONAL_PACKAGES.items():
        if name.lower() in found.values and find_spec(package) is None:
            problems.setdefault(name, f"needs the package {package} (pip install 'ccl[tracing]')")


def known_names(wanted: Sequence[Variable]) -> Mapping[str, bool]:
    """Every variable of the service → whether it may come from ``NAME_FILE`` instead."""
    return {v.name: v.secret for v in wanted} | dict.fromkeys(KEY_VARIABLES.values(), True)


def secret_texts(keys: Mapping[KeyName, KeySource], values: Mapping[str, Any]) -> dict[str, str]:
    """Variable → text for the strength rule: the key files, the monitoring token and the provider keys.

    ``values`` are settings by name. Raises OSError or ValueError for a file that cannot be read.
    """
    found = {KEY_VARIABLES[name]: source.read() for name, source in keys.items()}
    if (monitor := values.get(MONITOR.lower())) is not None:
        found[MONITOR] = KeySource(file=Path(monitor)).read()
    for provider in ("MAILGUN_API_KEY", "OPENAI_API_KEY"):
        value = values.get(provider.lower())
        if value is not None:
            found[provider] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


def _key_sources(
    environ: Mapping[str, str],
    found: Collected,
    problems: Problems,
    wanted: Mapping[KeyName, str] = KEY_VARIABLES,
) -> dict[KeyName, KeySource]:
    keys: dict[KeyName, KeySource] = {}
    for key, name in wanted.items():
        text, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
        if text and path:
            problems[name] = BOTH.format(other=f"{name}_FILE")
        elif not text and not path:
            problems[name] = "is missing"
        elif content := text or read_file(name, path, problems):
            try:
                parse_key_file(content)
            except ValueError:
                problems[f"{name}_FILE" if path else name] = "is no key file with exactly one current key"
                continue
            keys[key] = KeySource(file=Path(path)) if path else KeySource(value=text)
            found.sources[name] = SettingSource.FILE if path else SettingSource.ENVIRONMENT
    return keys


def _demand_token(path: str | None, problems: Problems) -> None:
    text = "" if path is None else read_file("MONITOR_KEY", path, problems)
    try:
        if text:
            token_key(text)
    except ValueError:
        problems[MONITOR] = NO_TOKEN


def _demand_for_production(found: Collected, keys: Mapping[KeyName, KeySource], problems: Problems) -> None:
    for name in REQUIRED_IN_PRODUCTION:
        if name not in found.sources and name not in problems and f"{name}_FILE" not in problems:
            problems[name] = "is missing"
    if "*" in found.values.get("cors_origin", ""):
        problems.setdefault("CORS_ORIGIN", "must not be * in production; name exact origins")
    usable = {name: value for name, value in found.values.items() if name.upper() not in problems}
    for name, why in weaknesses(secret_texts(keys, usable)).items():
        problems.setdefault(name, why)


def _build(model: type[M], values: Mapping[str, Any], problems: Problems) -> M:
    try:
        built = model.model_validate(values)
    except ValidationError as exc:
        for error in exc.errors(include_input=False, include_url=False):
            name = str(error["loc"][0]).upper()
            if f"{name}_FILE" not in problems:
                problems.setdefault(name, _reason(error["type"], error["msg"]))
        raise SettingsError(problems) from None
    if problems:
        raise SettingsError(problems)
    return built


def _reason(kind: str, message: str) -> str:
    if kind == "missing":
        return "is missing"
    text = message.removeprefix("Value error, ")
    return text[0].lower() + text[1:]
