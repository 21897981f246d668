"""What the settings alone tell: each check passes on a good environment and is broken by one thing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from ccl_service.platform.assembly import wall_clock
from ccl_service.platform.checks import environment as checks
from ccl_service.platform.checks.verdict import Subject, Verdict
from ccl_service.platform.config import Settings, load_settings
from ccl_service.platform.keys import KeySource
from tests.unit.service.platform.checks.good import GOOD, NoDb

DEVELOPMENT = {"CCL_ENV": "development"}

Judge = Callable[[Subject], Verdict]
JUDGES = (
    checks.environment,
    checks.variables,
    checks.secrets_strong,
    checks.cors,
    checks.trust_proxy,
    checks.tls,
    checks.rate_limits,
    checks.log_level,
    checks.metrics,
    checks.error_tracking,
)


def subject(settings: Settings) -> Subject:
    return Subject(settings, NoDb(), None, wall_clock)


def found(judge: Judge, environ: dict[str, str]) -> tuple[str, str]:
    verdict = judge(subject(load_settings(environ)))
    assert bool(verdict.action) == (verdict.status != "pass")
    return verdict.status.value, verdict.reason


@pytest.mark.parametrize("judge", JUDGES)
def test_a_good_environment_passes(judge: Judge) -> None:
    assert found(judge, GOOD) == ("pass", "")


@pytest.mark.parametrize(
    ("judge", "broken", "expected"),
    [
        (checks.environment, DEVELOPMENT, ("warn", "NotProduction")),
        (checks.variables, {"RATE_LIMIT_MAX_REQUEST": "5"}, ("warn", "Misspelt")),
        (checks.secrets_strong, DEVELOPMENT | {"INTERNAL_API_KEY": "ccl-internal-2025"}, ("fail", "WeakSecret")),
        (checks.secrets_strong, DEVELOPMENT | {"JWT_SECRET": "short"}, ("fail", "WeakSecret")),
        (checks.secrets_strong, DEVELOPMENT | {"SESSION_SECRET": "j" * 32}, ("fail", "WeakSecret")),
        (checks.secrets_strong, DEVELOPMENT | {"OPENAI_API_KEY": "your-openai-api-key"}, ("fail", "WeakSecret")),
        (checks.secrets_strong, {"DATABASE_URL": "postgresql://u:password@db/ccl"}, ("warn", "ExamplePassword")),
        (checks.secrets_strong, {"REDIS_URL": "redis://:redis@cache/0"}, ("warn", "ExamplePassword")),
        (checks.cors, DEVELOPMENT | {"CORS_ORIGIN": ""}, ("warn", "NoOrigin")),
        (checks.cors, DEVELOPMENT | {"CORS_ORIGIN": "*"}, ("fail", "AnyOrigin")),
        (checks.cors, {"CORS_ORIGIN": "https://your-domain.com"}, ("fail", "ExampleOrigin")),
        (checks.cors, {"CORS_ORIGIN": "http://cars.example.com"}, ("warn", "PlainOrigin")),
        (checks.trust_proxy, {"TRUST_PROXY": "0.0.0.0/0"}, ("fail", "TrustsEverybody")),
        (checks.trust_proxy, {"TRUST_PROXY": "::/0"}, ("fail", "TrustsEverybody")),
        (checks.trust_proxy, {"TRUST_PROXY": "false"}, ("warn", "ProxyIgnored")),
        (checks.tls, {"PUBLIC_BASE_URL": ""}, ("warn", "NoPublicUrl")),
        (checks.tls, {"PUBLIC_BASE_URL": "http://cars.example.com"}, ("fail", "PlainHttp")),
        (checks.rate_limits, {"RATE_LIMIT_MAX_REQUESTS": "6001"}, ("warn", "High")),
        (checks.rate_limits, {"RATE_LIMIT_MAX_REQUESTS": "9"}, ("warn", "Low")),
        (checks.rate_limits, {"RATE_LIMIT_WINDOW_MS": "3600000"}, ("warn", "Low")),
        (checks.log_level, {"LOG_LEVEL": "debug"}, ("warn", "Debug")),
        (checks.metrics, {"METRICS_ENABLED": "false"}, ("warn", "Off")),
        (checks.error_tracking, {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ("warn", "Off")),
    ],
)
def test_each_is_broken_by_one_thing(judge: Judge, broken: dict[str, str], expected: tuple[str, str]) -> None:
    assert found(judge, GOOD | broken) == expected


def test_no_message_holds_a_secret() -> None:
    weak = GOOD | DEVELOPMENT | {"INTERNAL_API_KEY": "tell-nobody", "DATABASE_URL": "postgresql://u:password@db/ccl"}
    shown = repr([judge(subject(load_settings(weak))) for judge in JUDGES])
    assert "tell-nobody" not in shown
    assert "u:password" not in shown


def test_a_key_file_that_went_away_is_a_warning() -> None:
    settings = load_settings(GOOD)
    gone = dict.fromkeys(settings.keys, KeySource(file=Path("/nonexistent/key.json")))
    verdict = checks.secrets_strong(subject(settings.model_copy(update={"keys": gone})))
    assert (verdict.status.value, verdict.reason) == ("warn", "Unreadable")


@pytest.mark.parametrize("state", ["next", "current", "previous"])
def test_a_weak_key_of_any_state_fails(state: str, tmp_path: Path) -> None:
    secrets = {"next": "n" * 40, "current": "c" * 40, "previous": "p" * 40}
    keys = [{"id": s, "state": s, "secret": secret} for s, secret in (secrets | {state: "changeme"}).items()]
    (tmp_path / "keys.json").write_text(json.dumps({"v": 1, "keys": keys}))
    broken = DEVELOPMENT | {"JWT_SECRET": "", "JWT_SECRET_FILE": str(tmp_path / "keys.json")}
    assert found(checks.secrets_strong, GOOD | broken) == ("fail", "WeakSecret")


def test_a_weak_monitoring_token_fails(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("monitor")
    broken = DEVELOPMENT | {"MONITOR_KEY_FILE": str(tmp_path / "token")}
    assert found(checks.secrets_strong, GOOD | broken) == ("fail", "WeakSecret")


def test_a_url_that_cannot_be_read_is_no_example_password() -> None:
    settings = load_settings(GOOD).model_copy(update={"database_url": SecretStr("postgresql://[x")})
    assert checks.secrets_strong(subject(settings)).status == "pass"
