"""The environment contract."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_contract.strength import NO_TOKEN
from ccl_service.platform.config import (
    Environment,
    Settings,
    SettingsError,
    load_database_settings,
    load_settings,
)
from ccl_service.platform.config_sources import variables
from ccl_service.platform.keys import KEY_VARIABLES, KeyName

STRONG = {
    "DATABASE_URL": "postgresql://user:hidden@db/ccl",
    "INTERNAL_API_KEY": "i" * 32,
    "JWT_SECRET": "j" * 32,
    "SESSION_SECRET": "s" * 32,
}
#: The ten variables of the deployment guide.
GUIDE = STRONG | {
    "NODE_ENV": "production",
    "MAILGUN_API_KEY": "key-1",
    "MAILGUN_DOMAIN": "mg.example.com",
    "OPENAI_API_KEY": "sk-1",
    "CORS_ORIGIN": "https://cars.example.com",
    "TRUST_PROXY": "true",
}

KEY_NAMES = list(KEY_VARIABLES.values())
SECRET_EXAMPLES = {
    "DATABASE_URL": "postgresql://from/file",
    "DATABASE_DIRECT_URL": "postgresql://from/file",
    "DATABASE_REPLICA_URLS": "postgresql://from/file",
    "REDIS_URL": "rediss://from/file",
    "SENTRY_DSN": "https://key@from.file/1",
}


def problems(environ: dict[str, str]) -> dict[str, str]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ)
    for value in (v for n, v in environ.items() if n not in {"NODE_ENV", "CCL_ENV"}):
        assert len(value) < 8 or value not in str(caught.value)
    return caught.value.problems


def test_the_guides_ten_variables_are_enough_and_give_its_defaults() -> None:
    settings = load_settings(GUIDE)
    assert settings.env is Environment.PRODUCTION
    assert (settings.port, settings.db_pool_size, settings.log_level, settings.metrics_enabled) == (
        5000,
        20,
        "warn",
        True,
    )
    assert (settings.rate_limit_window_ms, settings.rate_limit_max_requests) == (60_000, 100)
    assert settings.trust_proxy.hops == 1


@pytest.mark.parametrize("name", sorted(set(GUIDE) - {"NODE_ENV"}))
def test_without_any_one_of_them_production_does_not_start(name: str) -> None:
    assert list(problems({n: v for n, v in GUIDE.items() if n != name})) == [name]


def test_production_is_the_default_environment() -> None:
    assert "CORS_ORIGIN" in problems(STRONG)


def test_two_names_of_the_environment_that_differ_are_refused() -> None:
    assert "CCL_ENV" in problems(GUIDE | {"CCL_ENV": "staging"})
    assert load_settings(GUIDE | {"CCL_ENV": "production"}).production


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("INTERNAL_API_KEY", "ccl-internal-2025"),
        ("JWT_SECRET", "short"),
        ("JWT_SECRET", "i" * 32),
        ("SESSION_SECRET", "j" * 32),
        ("CORS_ORIGIN", "*"),
        ("MAILGUN_API_KEY", "your-mailgun-api-key"),
    ],
)
def test_production_refuses_weak_values_and_development_takes_them(name: str, value: str) -> None:
    assert list(problems(GUIDE | {name: value})) == [name]
    load_settings(GUIDE | {"NODE_ENV": "development", name: value})


@pytest.mark.parametrize("name", KEY_NAMES)
@pytest.mark.parametrize("state", ["next", "current", "previous"])
@pytest.mark.parametrize("weak", ["ccl-internal-2025", "short-of-32-bytes", "g" * 40])
def test_production_refuses_a_file_that_holds_a_weak_key_of_any_state(
    name: str, state: str, weak: str, tmp_path: Path
) -> None:
    """``g`` is what signs for another purpose."""
    other = next(n for n in KEY_NAMES if n != name)
    secrets = {"next": "n" * 40, "current": "c" * 40, "previous": "p" * 40} | {state: weak}
    keys = [{"id": s, "state": s, "secret": secret} for s, secret in secrets.items()]
    (tmp_path / "keys.json").write_text(json.dumps({"v": 1, "keys": keys}))
    environ = GUIDE | {other: "g" * 40, name: "", f"{name}_FILE": str(tmp_path / "keys.json")}
    assert set(problems(environ)) <= {name, other}
    load_settings(environ | {"NODE_ENV": "development"})


@pytest.mark.parametrize("token", ["changeme", "m" * 31, "i" * 32])
def test_production_refuses_a_monitoring_token_that_is_weak_or_the_root_key(token: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(token)
    environ = GUIDE | {"MONITOR_KEY_FILE": str(tmp_path / "token")}
    assert list(problems(environ)) == ["MONITOR_KEY_FILE"]
    load_settings(environ | {"NODE_ENV": "development"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "70000"),
        ("DATABASE_URL", "mysql://user:secretvalue@db/x"),
        ("TRUST_PROXY", "sometimes"),
        ("CORS_ORIGIN", "cars.example.com"),
        ("PUBLIC_BASE_URL", "ftp://cars.example.com"),
        ("LOG_LEVEL", "loud-and-clear"),
        ("METRICS_ENABLED", "perhaps-sometimes"),
        ("REDIS_URL", "http://redis-host"),
        ("SENTRY_DSN", "https://sentry-host/without-a-key"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "grpc://collector:4317"),
        ("CCL_ENV", "production-ish"),
        ("BODY_LIMIT_BYTES", "1023"),
        ("BODY_LIMIT_BYTES", "104857601"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown(name: str, value: str) -> None:
    environ = {n: v for n, v in GUIDE.items() if n != "NODE_ENV"} | {name: value}
    assert list(problems(environ)) == [name]


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text("postgresql://from/file\n")
    environ = {n: v for n, v in GUIDE.items() if n != "DATABASE_URL"} | {"DATABASE_URL_FILE": str(file)}
    assert load_settings(environ).database_url.get_secret_value() == "postgresql://from/file"


@pytest.mark.parametrize("name", ["DATABASE_URL", "JWT_SECRET"])
def test_a_value_and_a_file_together_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("f" * 40)
    assert name in problems(GUIDE | {f"{name}_FILE": str(file)})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    environ = {n: v for n, v in GUIDE.items() if n != "JWT_SECRET"} | {"JWT_SECRET_FILE": str(tmp_path / "none")}
    assert list(problems(environ)) == ["JWT_SECRET_FILE"]


def test_a_monitor_token_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    assert list(problems(GUIDE | {"MONITOR_KEY_FILE": str(tmp_path / "none")})) == ["MONITOR_KEY_FILE"]


def test_a_monitor_token_that_no_header_can_carry_is_named(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("t" * 40 + "\n" + "t" * 40)
    assert problems(GUIDE | {"MONITOR_KEY_FILE": str(file)}) == {"MONITOR_KEY_FILE": NO_TOKEN}


def test_keys_from_files_are_left_to_the_key_ring(tmp_path: Path) -> None:
    file = tmp_path / "jwt.json"
    file.write_text('{"v":1,"keys":[{"id":"k1","state":"current","secret":"' + "z" * 40 + '"}]}')
    environ = {n: v for n, v in GUIDE.items() if n != "JWT_SECRET"} | {"JWT_SECRET_FILE": str(file)}
    assert load_settings(environ).keys[KeyName.JWT].file == file


def test_migrations_need_the_database_only() -> None:
    assert load_database_settings({"DATABASE_URL": "postgresql://a/b"}).direct_url == "postgresql://a/b"
    direct = {"DATABASE_URL": "postgresql://pool/b", "DATABASE_DIRECT_URL": "postgresql://server/b"}
    assert load_database_settings(direct).direct_url == "postgresql://server/b"


def test_replicas_are_a_list_of_secret_urls(tmp_path: Path) -> None:
    urls = ["postgresql://reader:hidden@one/ccl", "postgres://reader:hidden@two/ccl"]
    settings = load_settings(GUIDE | {"DATABASE_REPLICA_URLS": f"{urls[0]}, {urls[1]},"})
    assert [url.get_secret_value() for url in settings.database_replica_urls] == urls
    assert "hidden" not in repr(settings)
    file = tmp_path / "urls"
    file.write_text(urls[1])
    (url,) = load_settings(GUIDE | {"DATABASE_REPLICA_URLS_FILE": str(file)}).database_replica_urls
    assert url.get_secret_value() == urls[1]


def test_a_replica_that_is_no_postgres_url_is_named_and_not_shown() -> None:
    wrong = {"DATABASE_REPLICA_URLS": "postgresql://reader@one/ccl,http://secretvalue@two/ccl"}
    assert list(problems(GUIDE | wrong)) == ["DATABASE_REPLICA_URLS"]


@pytest.mark.parametrize("name", sorted(v.name for v in variables(Settings) if v.secret))
def test_every_secret_can_come_from_a_file(name: str, tmp_path: Path) -> None:
    text = SECRET_EXAMPLES.get(name, "a-secret-of-this-test")
    (tmp_path / "secret").write_text(f"{text}\n")
    environ = {n: v for n, v in GUIDE.items() if n != name} | {f"{name}_FILE": str(tmp_path / "secret")}
    value = getattr(load_settings(environ), name.lower())
    (secret,) = value if isinstance(value, tuple) else (value,)
    assert secret.get_secret_value() == text


@pytest.mark.parametrize("name", ["DATABASE_URL", "JWT_SECRET", "MAILGUN_API_KEY"])
def test_an_empty_file_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    environ = {n: v for n, v in GUIDE.items() if n != name} | {f"{name}_FILE": str(tmp_path / "empty")}
    assert list(problems(environ)) == [f"{name}_FILE"]


@pytest.mark.parametrize("url", ["postgresql://user:p℀ssword@db/ccl", "postgresql://[password]/ccl"])
def test_a_url_that_python_itself_would_quote_in_its_error_is_not_shown(url: str) -> None:
    assert list(problems(GUIDE | {"DATABASE_URL": url})) == ["DATABASE_URL"]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass/word@db/ccl",
        "postgresql://user:pass?word@db/ccl",
        "postgresql://user:pass#word@db/ccl",
        "postgresql://user:password@db:port/ccl",
        "postgresql://user:password@db:99999/ccl",
        "postgresql://user:password@one:5432,two:x/ccl",
        "postgresql://user:password/ccl",
    ],
)
@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_DIRECT_URL"])
def test_a_url_whose_server_is_in_doubt_is_named_and_not_shown(name: str, url: str) -> None:
    assert list(problems(GUIDE | {name: url})) == [name]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss%2Fword@db:5432/ccl?sslmode=require",
        "postgres://user:p@ss@db/ccl",
        "postgresql://user@one:5432,two:5433/ccl",
        "postgresql://user@[::1]:5432/ccl",
        "postgresql://postgres:@/postgres?host=/var/run/postgresql",
        "postgresql://user@%2Fvar%2Frun/ccl",
        "postgresql:///ccl",
        "postgresql://db/ccl?application_name=ccl",
        "postgresql://user:p@db/ccl?options=a@b",
    ],
)
def test_every_usual_form_of_a_database_url_is_taken(url: str) -> None:
    assert load_settings(GUIDE | {"DATABASE_URL": url}).database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url", ["https://cars.example.com:port", "https://cars.example.com/#top", "https://[::1", "https://"]
)
def test_a_public_address_that_leads_nowhere_is_named(url: str) -> None:
    assert list(problems(GUIDE | {"PUBLIC_BASE_URL": url})) == ["PUBLIC_BASE_URL"]


def test_the_source_of_each_setting_is_known(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k" * 40)
    environ = {n: v for n, v in GUIDE.items() if n != "JWT_SECRET"} | {"JWT_SECRET_FILE": str(tmp_path / "key")}
    provenance = load_settings(environ).provenance
    of = {name: provenance.of(name).value for name in ("JWT_SECRET", "CCL_ENV", "PORT", "DATABASE_URL")}
    assert of == {"JWT_SECRET": "file", "CCL_ENV": "environment", "PORT": "default", "DATABASE_URL": "environment"}


def test_pool_times_may_be_nothing_and_a_connection_always_gets_a_moment() -> None:
    settings = load_settings(GUIDE | {"DB_IDLE_TIMEOUT_MS": "0", "DB_CONNECT_TIMEOUT_MS": "0"})
    assert (settings.db_idle_timeout_ms, settings.db_connect_timeout_ms) == (0, 100)


@pytest.mark.parametrize(("text", "level"), [("WARN", "warn"), ("warning", "warn"), ("Debug", "debug")])
def test_a_log_level_may_be_written_as_other_programs_write_it(text: str, level: str) -> None:
    assert load_settings(GUIDE | {"LOG_LEVEL": text}).log_level == level


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("10.0.0.10", "10.0.0.10:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("::1", "[::1]:53"),
        ("[::1]:54", "[::1]:54"),
    ],
)
def test_a_name_server_is_an_address_with_or_without_a_port(text: str, server: str) -> None:
    assert str(load_settings(GUIDE | {"DNS_SERVER": text}).dns_server) == server


@pytest.mark.parametrize("text", ["dns.example.com", "10.0.0.10:0", "10.0.0.10:70000", "10.0.0.10:"])
def test_anything_else_is_no_name_server(text: str) -> None:
    assert list(problems(GUIDE | {"DNS_SERVER": text})) == ["DNS_SERVER"]


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("https://Cars.Example.com/", ("https://cars.example.com",)),
        ("https://a.example:443,http://b.example:80", ("https://a.example", "http://b.example")),
        ("https://a.example:80, http://b.example:443", ("https://a.example:80", "http://b.example:443")),
        ("https://[::1]:443", ("https://[::1]",)),
    ],
)
def test_origins_are_kept_as_browsers_write_them(text: str, origins: tuple[str, ...]) -> None:
    assert load_settings(GUIDE | {"CORS_ORIGIN": text}).cors_origin == origins


@pytest.mark.parametrize(
    "text", ["mg.example.com/../v3", "mg..example.com", "-mg.example.com", "mg example", "x" * 254]
)
def test_what_is_no_domain_name_is_named(text: str) -> None:
    assert list(problems(GUIDE | {"MAILGUN_DOMAIN": text})) == ["MAILGUN_DOMAIN"]


@pytest.mark.parametrize("name", ["MAILGUN_API_KEY", "OPENAI_API_KEY"])
@pytest.mark.parametrize("text", ["key-one\r\nHost: elsewhere", "key-one key-two", "key-\u201cquoted\u201d"])
def test_a_key_that_would_break_a_header_is_named(name: str, text: str) -> None:
    assert list(problems(GUIDE | {name: text})) == [name]


def test_a_likely_misspelling_is_remembered_and_stops_nothing() -> None:
    settings = load_settings(GUIDE | {"RATE_LIMIT_MAX_REQUEST": "5", "PATH": "/bin"})
    assert [(m.name, m.meant) for m in settings.provenance.misspelt] == [
        ("RATE_LIMIT_MAX_REQUEST", "RATE_LIMIT_MAX_REQUESTS")
    ]


MARK = "tell-no1"
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
WRONG = st.builds(lambda a, b: f"{a}{MARK}{b}", TEXTS, TEXTS) | st.builds(
    lambda scheme, a, b: f"{scheme}://{a}:{MARK}@{b}/{MARK}?{MARK}",
    st.sampled_from(["postgresql", "redis", "https", "x"]),
    TEXTS,
    TEXTS,
)


@given(values=st.dictionaries(st.sampled_from([v.name for v in variables(Settings)] + KEY_NAMES), WRONG, min_size=1))
def test_whatever_is_wrong_no_value_appears(values: dict[str, str]) -> None:
    outcome = loaded(GUIDE | values)
    if isinstance(outcome, SettingsError):
        shown = str(outcome)
        assert outcome.__cause__ is None
        assert outcome.__suppress_context__ or outcome.__context__ is None
        assert set(outcome.problems) <= set(values) | {f"{name}_FILE" for name in values} | {"SESSION_SECRET"}
    else:
        shown = repr([getattr(outcome, v.field) for v in variables(Settings) if v.secret] + [outcome.keys])
    assert MARK not in shown


def loaded(environ: dict[str, str]) -> Settings | SettingsError:
    try:
        return load_settings(environ)
    except SettingsError as error:
        return error


def test_links_use_the_public_url_or_the_first_origin() -> None:
    assert load_settings(GUIDE).link_base == "https://cars.example.com"
    assert load_settings(GUIDE | {"PUBLIC_BASE_URL": "https://ccl.example.com/"}).link_base == "https://ccl.example.com"


def test_settings_in_a_log_show_no_secret() -> None:
    assert "hidden" not in repr(load_settings(GUIDE))
    assert "j" * 32 not in repr(load_settings(GUIDE))


@pytest.mark.parametrize(
    ("name", "value"),
    [("SENTRY_DSN", "https://key@sentry.example/1"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")],
)
def test_a_variable_whose_package_is_not_installed_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ccl_service.platform.config.find_spec", lambda _: None)
    assert list(problems(GUIDE | {name: value})) == [name]
