"""The environment contract."""

from pathlib import Path

import pytest

from ccl_service.platform.config import Environment, SettingsError, load_database_settings, load_settings
from ccl_service.platform.keys import KeyName

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
        ("SESSION_SECRET", "j" * 32),
        ("CORS_ORIGIN", "*"),
        ("MAILGUN_API_KEY", "your-mailgun-api-key"),
    ],
)
def test_production_refuses_weak_values_and_development_takes_them(name: str, value: str) -> None:
    assert list(problems(GUIDE | {name: value})) == [name]
    load_settings(GUIDE | {"NODE_ENV": "development", name: value})


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
        ("CCL_ENV", "production-ish"),
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


def test_links_use_the_public_url_or_the_first_origin() -> None:
    assert load_settings(GUIDE).link_base == "https://cars.example.com"
    assert load_settings(GUIDE | {"PUBLIC_BASE_URL": "https://ccl.example.com/"}).link_base == "https://ccl.example.com"


def test_settings_in_a_log_show_no_secret() -> None:
    assert "hidden" not in repr(load_settings(GUIDE))
    assert "j" * 32 not in repr(load_settings(GUIDE))
