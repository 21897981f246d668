"""The variables that the service is told."""

import copy

import pytest

from ccl_operator.api.v1alpha1 import parse_spec
from ccl_operator.environment import EXTERNAL, FIELDS, KEYS_PATH, MONITOR_PATH, RENDERED, render
from ccl_operator.secrets import keys_data
from ccl_service.platform.config import load_settings
from tests.unit.operator.api.rule_cases import changed
from tests.unit.operator.samples import SPEC, START


def rendered(changes=None):
    spec = parse_spec({"spec": changed(copy.deepcopy(SPEC), changes or {})})
    return render(spec, revision="0123456789", deployment_id="identity")


def test_the_whole_of_it():
    assert rendered() == {
        "CCL_DEPLOYMENT_ID": "identity",
        "CCL_ENV": "production",
        "CCL_REVISION": "0123456789",
        "CORS_ORIGIN": "https://loans.example.com",
        "DB_CONNECT_TIMEOUT_MS": "60000",
        "DB_IDLE_TIMEOUT_MS": "30000",
        "DB_POOL_SIZE": "20",
        "INTERNAL_API_KEY_FILE": "/run/ccl/keys/internal-api.json",
        "JWT_SECRET_FILE": "/run/ccl/keys/jwt.json",
        "MAILGUN_DOMAIN": "mg.example.com",
        "MAIL_FROM": "Cathy <cathy@mg.example.com>",
        "MAIL_POSTAL_ADDRESS": "100 Example Street",
        "MONITOR_KEY_FILE": "/run/ccl/monitor/token",
        "PORT": "5000",
        "PUBLIC_BASE_URL": "https://loans.example.com",
        "RATE_LIMIT_MAX_REQUESTS": "100",
        "RATE_LIMIT_WINDOW_MS": "60000",
        "SESSION_SECRET_FILE": "/run/ccl/keys/session.json",
        "TRUST_PROXY": "false",
    }


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"http.trustProxy": {"hops": 2}}, "TRUST_PROXY", "2"),
        ({"http.trustProxy": {"cidrs": ["10.0.0.0/8", "fd00::/8"]}}, "TRUST_PROXY", "10.0.0.0/8,fd00::/8"),
        ({"mail.allowlist": ["a@example.com", "@example.org"]}, "OUTBOUND_ALLOWLIST", "a@example.com,@example.org"),
        ({"monitoring": {"otlpEndpoint": "http://otel:4318"}}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://otel:4318"),
        ({"secrets.openai.model": "m"}, "OPENAI_MODEL", "m"),
        ({"secrets.openai.baseUrl": "http://o/v1"}, "OPENAI_BASE_URL", "http://o/v1"),
        ({"secrets.mailgun.baseUrl": "http://m"}, "MAILGUN_BASE_URL", "http://m"),
    ],
)
def test_a_field_of_the_spec_becomes_its_variable(changes, name, value):
    assert rendered(changes)[name] == value


def test_a_referenced_key_is_given_as_a_value_and_not_as_a_file_too():
    assert "JWT_SECRET_FILE" not in rendered({"secrets.jwt": {"secretKeyRef": {"name": "own", "key": "jwt"}}})


def test_every_name_that_is_rendered_is_one_that_extra_env_may_not_set():
    assert {*rendered(), *EXTERNAL, *FIELDS} <= RENDERED


def test_the_service_takes_what_the_operator_renders(tmp_path):
    spec = parse_spec({"spec": SPEC})
    files = keys_data({}, spec, entropy=bytes(range(256)), now=START)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "token").write_text("monitoring-token-of-more-than-32-bytes")
    variables = {
        name: value.replace(KEYS_PATH, str(tmp_path)).replace(MONITOR_PATH, str(tmp_path))
        for name, value in rendered().items()
    }
    external = {
        "DATABASE_URL": "postgresql://ccl:secret@ccl-postgres.loans.svc:5432/ccl",
        "REDIS_URL": "redis://ccl-redis.loans.svc:6379/0",
        "MAILGUN_API_KEY": "key-of-mailgun",
        "MAILGUN_WEBHOOK_SIGNING_KEY": "signing-key",
        "OPENAI_API_KEY": "sk-of-openai",
    }
    settings = load_settings(variables | external)
    assert settings.ccl_revision == "0123456789"
    assert settings.ccl_deployment_id == "identity"
    assert settings.public_base_url == "https://loans.example.com"
