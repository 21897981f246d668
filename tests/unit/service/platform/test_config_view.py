"""What operators may see of the configuration."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ccl_contract.readiness import KeyIds
from ccl_service.platform.config import Settings, SettingsError, load_settings
from ccl_service.platform.config_sources import variables
from ccl_service.platform.config_view import ConfigView, config_view, length_class, masked_url

KEYS = {"INTERNAL_API_KEY": "i" * 32, "JWT_SECRET": "j" * 32, "SESSION_SECRET": "s" * 32}
ENVIRON = KEYS | {
    "CCL_ENV": "development",
    "DATABASE_URL": "postgresql://ccl:opensesame@db.example.com:5432/ccl?sslmode=require&sslpassword=opensesame",
    "DATABASE_REPLICA_URLS": "postgresql://ccl:opensesame@one/ccl,postgresql://ccl:opensesame@two/ccl",
    "REDIS_URL": "rediss://:opensesame@cache:6380/0",
    "MAILGUN_API_KEY": "key-opensesame",
    "MAILGUN_BASE_URL": "http://proxy:opensesame@mailgun.example.com/v3",
    "TRUST_PROXY": "10.0.0.0/8,fd00::/8",
}
SECRETS = [variable for variable in variables(Settings) if variable.secret]


def view(**environ: str) -> ConfigView:
    return config_view(load_settings(ENVIRON | environ), KeyIds(jwt=("k1", "k2")))


def test_every_variable_is_shown_with_its_source(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk-opensesame")
    shown = view(OPENAI_API_KEY_FILE=str(tmp_path / "key"), PORT="8080").settings
    assert set(shown) == {variable.name for variable in variables(Settings)}
    assert {name: shown[name].source.value for name in ("OPENAI_API_KEY", "PORT", "LOG_LEVEL")} == {
        "OPENAI_API_KEY": "file",
        "PORT": "environment",
        "LOG_LEVEL": "default",
    }
    assert (shown["PORT"].value, shown["LOG_LEVEL"].value, shown["PUBLIC_BASE_URL"].value) == (8080, "warn", None)


def test_of_a_servers_url_the_server_and_the_database_stay_readable() -> None:
    shown = view().settings
    assert shown["DATABASE_URL"].value == "postgresql://***@db.example.com:5432/ccl"
    assert shown["DATABASE_REPLICA_URLS"].value == ["postgresql://***@one/ccl", "postgresql://***@two/ccl"]
    assert shown["REDIS_URL"].value == "rediss://***@cache:6380/0"
    assert shown["MAILGUN_BASE_URL"].value == "http://***@mailgun.example.com/v3"


def test_another_secret_shows_that_it_is_set_and_about_how_long_it_is() -> None:
    shown = view().settings
    assert (shown["MAILGUN_API_KEY"].value, shown["MAILGUN_API_KEY"].length) == ("***", "0-15")
    assert (shown["OPENAI_API_KEY"].value, shown["OPENAI_API_KEY"].length) == (None, None)


def test_keys_show_their_ids() -> None:
    shown = view().keys
    assert (shown["JWT_SECRET"].ids, shown["JWT_SECRET"].source.value) == (("k1", "k2"), "environment")
    assert set(shown) == set(KEYS)


def test_trusted_networks_and_hops_are_readable() -> None:
    assert view().settings["TRUST_PROXY"].value == ["10.0.0.0/8", "fd00::/8"]
    assert view(TRUST_PROXY="true").settings["TRUST_PROXY"].value == 1


def test_a_misspelling_is_shown() -> None:
    assert [(slip.name, slip.meant) for slip in view(CORS_ORIGINS="x").misspelt] == [("CORS_ORIGINS", "CORS_ORIGIN")]


@pytest.mark.parametrize(
    ("length", "shown"), [(0, "0-15"), (15, "0-15"), (16, "16-31"), (32, "32-63"), (64, "64+"), (999, "64+")]
)
def test_lengths_come_in_classes(length: int, shown: str) -> None:
    assert length_class(length) == shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass/word@host/db",
        "postgresql://user:pass#word@host/db",
        "postgresql://user:pass?word@host/db",
        "postgresql://user:password/db",
        "postgresql://[password/db",
        "postgresql://user:p℀ssword@host/db",
        "postgresql://host/db;password=word",
        "https://word@sentry.example.com/1",
        "password",
        "",
    ],
)
def test_a_url_that_may_hide_a_password_elsewhere_is_hidden_whole(url: str) -> None:
    assert masked_url(url) == "***"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://host/db", "postgresql://host/db"),
        ("postgresql://u:p@one:5432,two:5433/db", "postgresql://***@one:5432,two:5433/db"),
        ("postgres://u:p@[::1]:5432/db", "postgres://***@[::1]:5432/db"),
        ("postgresql:///db?host=/tmp/socket&password=word", "postgresql:///db"),
        ("postgresql://u:p@w@host/db", "postgresql://***@host/db"),
    ],
)
def test_other_urls_lose_their_account_and_their_query(url: str, shown: str) -> None:
    assert masked_url(url) == shown


MARK = "tell-No1"
PASSWORDS = st.builds(lambda a, b: f"{a}{MARK}{b}", st.text(max_size=6), st.text(max_size=6))
TEXTS = st.builds(
    lambda scheme, user, password, rest: f"{scheme}{user}:{password}@{rest}",
    st.sampled_from(["postgresql://", "redis://", "https://", ""]),
    st.sampled_from(["", "ccl"]),
    PASSWORDS,
    st.sampled_from(["db/ccl", "db:5432/ccl?x=1", ""]),
)


@given(values=st.dictionaries(st.sampled_from([variable.name for variable in SECRETS] + list(KEYS)), TEXTS, min_size=1))
def test_no_part_of_a_secret_ever_leaks(values: dict[str, str]) -> None:
    try:
        settings = load_settings(ENVIRON | values)
    except SettingsError:
        return
    shown = json.dumps(config_view(settings, KeyIds()).model_dump(mode="json"), ensure_ascii=False)
    assert MARK not in shown
    assert "opensesame" not in shown
