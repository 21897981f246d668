"""The environment contract, read once at start.

``load_settings`` is a function of a mapping, so that a test or a tool needs no process environment. Every wrong
variable is named in one error and no value ever appears in it. Which settings are weak but allowed outside
production is judged by ``platform.checks``.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError

from ccl_contract.keys import parse_key_file
from ccl_contract.strength import weaknesses
from ccl_service.platform.keys import KeyName, KeySource
from ccl_service.platform.proxy import TrustProxy, parse_trust

KEY_VARIABLES: Final[Mapping[KeyName, str]] = {
    KeyName.INTERNAL_API: "INTERNAL_API_KEY",
    KeyName.JWT: "JWT_SECRET",
    KeyName.SESSION: "SESSION_SECRET",
}
#: Secrets whose ``NAME_FILE`` is read once; the rotating keys are read by the key ring instead.
FILE_READ_ONCE: Final = (
    "DATABASE_URL",
    "DATABASE_DIRECT_URL",
    "DATABASE_REPLICA_URLS",
    "MAILGUN_API_KEY",
    "MAILGUN_WEBHOOK_SIGNING_KEY",
    "OPENAI_API_KEY",
    "REDIS_URL",
)
_REQUIRED_IN_PRODUCTION: Final = ("MAILGUN_API_KEY", "MAILGUN_DOMAIN", "OPENAI_API_KEY", "CORS_ORIGIN", "TRUST_PROXY")
_ORIGIN: Final = re.compile(r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?$|^https?://\[[0-9a-fA-F:]+\](:\d{1,5})?$")


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


def _origins(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
    if wrong := [o for o in found if o != "*" and not _ORIGIN.match(o)]:
        raise ValueError(f"holds {len(wrong)} entries that are no origin (scheme://host[:port])")
    return found


def _trust(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_trust(value)
    except ValueError as exc:
        raise ValueError("must be true, false, a hop count, or a comma list of CIDRs") from exc


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _url(*schemes: str) -> BeforeValidator:
    def check(value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if isinstance(text, str) and urlsplit(text).scheme not in schemes:
            raise ValueError(f"must be a URL that starts with {' or '.join(f'{s}://' for s in schemes)}")
        return text.rstrip("/") if isinstance(text, str) and "http" in schemes else value

    return BeforeValidator(check)


PostgresUrl = Annotated[SecretStr, _url("postgresql", "postgres")]
HttpUrl = Annotated[str, _url("http", "https")]
RedisUrl = Annotated[SecretStr, _url("redis", "rediss")]


class DatabaseSettings(BaseModel):
    """What ``migrate`` needs. Field names are the variables in lower case."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, arbitrary_types_allowed=True)

    database_url: PostgresUrl
    database_direct_url: PostgresUrl | None = None
    #: Read-only copies; what is marked read-only may go there.
    database_replica_urls: Annotated[tuple[PostgresUrl, ...], BeforeValidator(_listed)] = ()
    db_pool_size: int = Field(default=20, ge=1, le=1000)
    #: 0: idle connections stay open.
    db_idle_timeout_ms: int = Field(default=30_000, ge=0)
    #: Less than a tenth of a second opens no connection anywhere, so it counts as that.
    db_connect_timeout_ms: Annotated[int, AfterValidator(lambda ms: max(ms, 100))] = Field(default=60_000, ge=0)

    @property
    def direct_url(self) -> str:
        """The URL past a pooler."""
        return (self.database_direct_url or self.database_url).get_secret_value()


class Settings(DatabaseSettings):
    """The whole environment table."""

    env: Environment = Field(default=Environment.PRODUCTION, alias="ccl_env")
    keys: Mapping[KeyName, KeySource] = Field(repr=False)
    monitor_key_file: Path | None = None

    mailgun_api_key: SecretStr | None = None
    mailgun_domain: str | None = None
    mailgun_webhook_signing_key: SecretStr | None = None
    mailgun_base_url: HttpUrl = "https://api.mailgun.net"
    mail_from: str | None = None
    mail_postal_address: str | None = None
    outbound_allowlist: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    openai_api_key: SecretStr | None = None
    openai_base_url: HttpUrl = "https://api.openai.com/v1"
    openai_model: str = "gpt-4o-mini"

    cors_origin: Annotated[tuple[str, ...], BeforeValidator(_origins)] = ()
    trust_proxy: Annotated[TrustProxy, BeforeValidator(_trust)] = TrustProxy()
    public_base_url: HttpUrl | None = None
    redis_url: RedisUrl | None = None
    port: int = Field(default=5000, ge=0, le=65535)
    log_level: Literal["debug", "info", "warn", "error"] = "warn"
    metrics_enabled: bool = True
    body_limit_bytes: int = Field(default=10_485_760, ge=1024)
    rate_limit_window_ms: int = Field(default=60_000, ge=1000)
    rate_limit_max_requests: int = Field(default=100, ge=1)
    drain_delay_ms: int = Field(default=5000, ge=0, le=20_000)

    ccl_revision: str = ""
    ccl_deployment_id: str | None = None
    pod_name: str = ""
    pod_namespace: str = ""

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
    values, problems = _collect(environ, DatabaseSettings)
    return _build(DatabaseSettings, values, problems)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Everything that ``serve`` reads. Raises SettingsError naming every wrong variable at once."""
    values, problems = _collect(environ, Settings)
    values["ccl_env"] = _environment(environ, problems)
    values["keys"] = _key_sources(environ, problems)
    if (monitor := environ.get("MONITOR_KEY_FILE")) and not os.access(monitor, os.R_OK):
        problems["MONITOR_KEY_FILE"] = "cannot be read"
    if values["ccl_env"] is None or values["ccl_env"] == Environment.PRODUCTION:
        problems |= _missing_in_production(environ, problems)
        if "*" in environ.get("CORS_ORIGIN", ""):
            problems.setdefault("CORS_ORIGIN", "must not be * in production; name exact origins")
        problems |= {n: why for n, why in weaknesses(secret_texts(values["keys"], values)).items() if n not in problems}
    return _build(Settings, {k: v for k, v in values.items() if v is not None}, problems)


def secret_texts(keys: Mapping[KeyName, KeySource], values: Mapping[str, Any]) -> dict[str, str]:
    """Variable → secret text for the strength rule: the current key of each ring, and the provider keys."""
    found: dict[str, str] = {}
    for name, source in keys.items():
        found[KEY_VARIABLES[name]] = parse_key_file(source.read()).current.secret.get_secret_value()
    for provider in ("MAILGUN_API_KEY", "OPENAI_API_KEY"):
        value = values.get(provider.lower())
        if value is not None:
            found[provider] = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    return found


def _collect(environ: Mapping[str, str], model: type[BaseModel]) -> tuple[dict[str, Any], dict[str, str]]:
    """Variables of the model's fields with ``NAME_FILE`` resolved; empty text counts as absent."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in model.model_fields:
        name = field.upper()
        text = environ.get(name, "")
        path = environ.get(f"{name}_FILE", "") if name in FILE_READ_ONCE else ""
        if text and path:
            problems[name] = f"and {name}_FILE are both set; keep one"
        elif path:
            try:
                values[field] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError):
                problems[f"{name}_FILE"] = "cannot be read"
        elif text:
            values[field] = text
    return values, problems


def _environment(environ: Mapping[str, str], problems: dict[str, str]) -> str | None:
    own, alias = environ.get("CCL_ENV", ""), environ.get("NODE_ENV", "")
    if own and alias and own != alias:
        problems["CCL_ENV"] = "and NODE_ENV differ; keep one"
    return own or alias or None


def _key_sources(environ: Mapping[str, str], problems: dict[str, str]) -> dict[KeyName, KeySource]:
    found: dict[KeyName, KeySource] = {}
    for key, name in KEY_VARIABLES.items():
        text, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
        if text and path:
            problems[name] = f"and {name}_FILE are both set; keep one"
        elif not text and not path:
            problems[name] = "is missing"
        else:
            source = KeySource(file=Path(path)) if path else KeySource(value=text)
            try:
                parse_key_file(source.read())
            except OSError:
                problems[f"{name}_FILE"] = "cannot be read"
            except ValueError:
                problems[f"{name}_FILE" if path else name] = "is no key file with exactly one current key"
            else:
                found[key] = source
    return found


def _missing_in_production(environ: Mapping[str, str], problems: Mapping[str, str]) -> dict[str, str]:
    def present(name: str) -> bool:
        return bool(environ.get(name) or (name in FILE_READ_ONCE and environ.get(f"{name}_FILE")))

    return {n: "is missing" for n in _REQUIRED_IN_PRODUCTION if not present(n) and n not in problems}


def _build(model: type[M], values: Mapping[str, Any], problems: dict[str, str]) -> M:
    try:
        built = model.model_validate(values)
    except ValidationError as exc:
        for error in exc.errors(include_input=False, include_url=False):
            name = str(error["loc"][0]).upper()
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
